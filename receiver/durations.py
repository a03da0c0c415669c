"""Durations as text: "90s", "5m", "1h30m", "30d"."""

import re

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_UNITS_S = (86_400, 3600, 60, 1)


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration; write one such as 90s, 5m, 1h30m or 30d")
    counts = (int(count or 0) for count in match.groups())
    return float(sum(count * unit_s for count, unit_s in zip(counts, _UNITS_S, strict=True)))
