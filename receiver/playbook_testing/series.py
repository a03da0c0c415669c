"""Series in the notation of `promtool test rules`: `0.3x470 0.98+0.001x9 _x3`.

Notation: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series
"""

import re

from models.features.evidence import Series

_PART = re.compile(r"(?:(_)|(-?[\d.]+)(?:([+-])([\d.]+))?)(?:x(\d{1,6}))?")


def expand(text: str, *, step_s: float, end: float) -> Series:
    """The series whose last sample is at `end`; `_` is a missing sample. Raises ValueError."""
    values: list[float | None] = []
    for part in text.split():
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not a series; write one such as 0.3x470 or 1+0.5x9")
        missing, start, sign, change, times = match.groups()
        count = int(times or 0)
        if missing:
            values += [None] * max(1, count)
            continue
        rise = float(f"{sign}{change}") if change else 0.0
        values += [float(start) + rise * number for number in range(count + 1)]
    first = end - step_s * (len(values) - 1)
    samples = [(first + step_s * n, value) for n, value in enumerate(values) if value is not None]
    return Series(tuple(time for time, _ in samples), tuple(value for _, value in samples))
