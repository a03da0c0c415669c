"""Durations on the command line: 90d, 12h, 30m."""

from typing import Any

import click

DAY_S = 86_400.0
_UNITS_S = {"m": 60.0, "h": 3600.0, "d": DAY_S}
_AT_MOST_S = 10 * 366 * DAY_S


class Duration(click.ParamType[float]):
    """Seconds, between a minute and ten years."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        number, unit = str(value)[:-1], str(value)[-1:]
        if not number.isascii() or not number.isdigit() or unit not in _UNITS_S:
            self.fail(f"{value!r} is no duration such as 90d, 12h or 30m", param, ctx)
        seconds = int(number) * _UNITS_S[unit]
        if not 0 < seconds <= _AT_MOST_S:
            self.fail(f"{value!r} is not between a minute and ten years", param, ctx)
        return seconds
