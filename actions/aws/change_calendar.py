"""Change calendars of AWS Systems Manager: whether changes are allowed at this time.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCalendarState.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from actions.aws.client_set import Aws


@dataclass(frozen=True, kw_only=True)
class CalendarState:
    """`changes_at` is when the state will change (epoch seconds), None if AWS tells no time."""

    open: bool
    changes_at: float | None = None


def read_calendar(aws: Aws, names: Sequence[str]) -> CalendarState:
    """The state of these calendars, by name or ARN: open if each of them is.

    Raises botocore's errors, and KeyError where the answer has no state.
    """
    answer = aws.ssm.get_calendar_state(CalendarNames=list(names))
    return CalendarState(
        open=answer["State"] == "OPEN", changes_at=_time(answer.get("NextTransitionTime"))
    )


def _time(text: str | None) -> float | None:
    """A time in ISO 8601, UTC where it names no zone; None where it is no time."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
