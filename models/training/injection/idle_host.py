"""An idle host made of a recorded machine: its metrics hardly move, until something does."""

from dataclasses import replace

import numpy as np

from models.features.signals import ROLES
from models.training.labelled_sets import RecordedTarget

# Of the roles, those that never move, and those that move less.
_STILL, _CALM = 0.4, 0.8
_NOISE = 0.3


def idle(target: RecordedTarget, rng: np.random.Generator) -> RecordedTarget:
    """The target with calm metrics; what counts as a deviation stays that of the machine."""
    chance = rng.random(len(target.roles))
    kept = np.where(chance < _STILL, 0, np.where(chance < _CALM, rng.uniform(0, 0.3), 1))
    values = target.values.astype(np.float64)
    usual, spread = np.median(values, axis=0), values.std(axis=0)
    calm = usual + kept * (values - usual)
    noise = _NOISE * rng.uniform(0.3, 1.0) * spread
    if "service_up" in target.roles:
        noise[target.roles.index("service_up")] = ROLES["service_up"].noise
    return replace(target, values=calm.astype(np.float32), noise=tuple(noise.tolist()))
