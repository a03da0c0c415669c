"""Series as `promtool test rules` writes them: `0.3x470 0.98+0.001x9 _x3`.

Notation: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series
"""

import re

from models.features.evidence import Series

_PART = re.compile(r"(?:(_)|(-?[\d.]+)(?:([+-])([\d.]+))?)(?:x(\d{1,6}))?")


def series(text: str, *, step_s: float, end: float) -> Series:
    """Samples of which the last is at `end`; `_` is a missing one. Raises ValueError."""
    values: list[float | None] = []
    for part in text.split():
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no series such as 0.3x470 or 1+0.5x9")
        missing, start, sign, change, times = found.groups()
        count = int(times or 0)
        if missing:
            values += [None] * max(1, count)
            continue
        rise = float(f"{sign}{change}") if change else 0.0
        values += [float(start) + rise * number for number in range(count + 1)]
    first = end - step_s * (len(values) - 1)
    known = [(first + step_s * n, value) for n, value in enumerate(values) if value is not None]
    return Series(tuple(time for time, _ in known), tuple(value for _, value in known))
