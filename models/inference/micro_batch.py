"""Readings that are asked for at the same time, as in a storm, made in one go.

A forest walks a hundred alerts in hardly more time than one, so whoever comes while others read
waits for them, and then reads for all who wait.
"""

import threading
from concurrent.futures import Future

import numpy as np

from models.inference.parameters import Learned, Reading
from models.inference.tree_ensemble import Floats


class Together:
    """Safe for several threads."""

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        self._reading = threading.Lock()
        self._queue = threading.Lock()
        self._waiting: list[tuple[Floats, Future[Reading]]] = []

    def read(self, vector: Floats) -> Reading:
        """As `Learned.read`, of one vector of features."""
        mine: Future[Reading] = Future()
        with self._queue:
            self._waiting.append((vector, mine))
        with self._reading:
            if not mine.done():
                self._read_all()
        return mine.result()

    def _read_all(self) -> None:
        with self._queue:
            batch, self._waiting = self._waiting, []
        try:
            readings = self._learned.read(np.stack([vector for vector, _ in batch]))
        except Exception as error:  # noqa: BLE001 each of those who wait gets it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), reading in zip(batch, readings, strict=True):
            future.set_result(reading)
