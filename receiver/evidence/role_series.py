"""Prometheus' answers as series by role, without values that no machine can have."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from models.features.evidence import Series
from models.features.signals import ROLES
from receiver.evidence.prometheus.answers import LabelledSeries
from receiver.evidence.roles.believable import believable

Answer = tuple[LabelledSeries, ...]


def joined(older: Answer | None, newer: Answer | None) -> Answer | None:
    """Two adjacent answers as one; None if one is missing: the series would be incomplete."""
    if older is None or newer is None:
        return None
    return older + newer


def extended(
    older: Mapping[str, Series] | None, newer: Mapping[str, Series] | None
) -> Mapping[str, Series] | None:
    """Each role's older samples followed by the newer ones; None if a part is missing."""
    if older is None or newer is None:
        return None
    empty = Series()
    pairs = {role: (older.get(role, empty), newer.get(role, empty)) for role in {*older, *newer}}
    return {
        role: Series((*before.times, *after.times), (*before.values, *after.values))
        for role, (before, after) in pairs.items()
    }


def by_role(answer: Iterable[LabelledSeries] | None, at: float) -> dict[str, Series] | None:
    """The series by role: samples up to `at` within the role's range."""
    if answer is None:
        return None
    times: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
    values: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
    for series in answer:
        name = series.labels.get("role", "")
        least, most = believable(ROLES[name]) if name in ROLES else (-math.inf, math.inf)
        # A server may return samples after the requested end.
        samples = [
            (time, value)
            for time, value in zip(series.times, series.values, strict=True)
            if time <= at and least <= value <= most
        ]
        times[name] += tuple(time for time, _ in samples)
        values[name] += tuple(value for _, value in samples)
    return {name: Series(times[name], values[name]) for name in times}


def by_instance(
    answer: Iterable[LabelledSeries] | None,
    at: float,
    instance_of: Callable[[Mapping[str, str]], str | None],
) -> dict[str, dict[str, Series]] | None:
    """As `by_role`, for each instance that the series' labels name."""
    if answer is None:
        return None
    members: defaultdict[str, list[LabelledSeries]] = defaultdict(list)
    for series in answer:
        if instance_id := instance_of(series.labels):
            members[instance_id].append(series)
    return {instance_id: by_role(series, at) or {} for instance_id, series in members.items()}
