"""Combines predictions that are requested at the same time, as in a storm.

A tree ensemble predicts a hundred alerts in hardly more time than one. Requests that arrive during
a prediction wait for its end; then one thread predicts for all of them.
"""

import threading
from concurrent.futures import Future

import numpy as np

from models.inference.parameters import Parameters, Prediction
from models.inference.tree_ensemble import Floats


class MicroBatcher:
    """Predicts for all waiting threads at once. Thread-safe."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._predicting = threading.Lock()
        self._queue = threading.Lock()
        self._waiting: list[tuple[Floats, Future[Prediction]]] = []

    def predict(self, vector: Floats) -> Prediction:
        """As `Parameters.predict`, for one vector of features."""
        own: Future[Prediction] = Future()
        with self._queue:
            self._waiting.append((vector, own))
        with self._predicting:
            if not own.done():
                self._predict_all()
        return own.result()

    def _predict_all(self) -> None:
        with self._queue:
            batch, self._waiting = self._waiting, []
        try:
            predictions = self._parameters.predict(np.stack([vector for vector, _ in batch]))
        except Exception as error:  # noqa: BLE001 each waiting thread raises it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), prediction in zip(batch, predictions, strict=True):
            future.set_result(prediction)
