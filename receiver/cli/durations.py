"""The type of durations on the command line."""

from typing import Any

import click

from receiver.durations import parse_duration
from receiver.runtime.rfc3339 import DAY_S

_MIN_S, _MAX_S = 60.0, 10 * 366 * DAY_S


class Duration(click.ParamType[float]):
    """Seconds, between a minute and ten years, from a text such as 90d, 12h or 30m."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        try:
            seconds = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not _MIN_S <= seconds <= _MAX_S:
            self.fail(f"{value!r} is not between a minute and ten years", param, ctx)
        return seconds
