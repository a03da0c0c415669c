"""A playbook's window by change calendars: what AWS tells, and what it does not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from actions.aws.change_calendar import CalendarState
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError, ChangeCalendar
from receiver.evidence.aws.state import AwsReader
from tests.conftest import Clock

_ARN = "arn:aws:ssm:eu-central-1:123456789012:document/"


@pytest.fixture
def aws(clock: Clock) -> Emulator:
    aws = Emulator(Core(clock))
    now = clock()
    aws.world.calendars["business"] = ChangeCalendar(events=[(now + 60, now + 120)])
    aws.world.calendars["nights"] = ChangeCalendar(
        default_open=False, events=[(now - 60, now + 90)]
    )
    return aws


@pytest.fixture
def reader(aws: Emulator) -> Iterator[AwsReader]:
    with ThreadPoolExecutor(2) as pool:
        yield AwsReader(aws=clients(aws), pool=pool, trail=False)


@pytest.mark.parametrize(
    ("names", "after_s", "told"),
    [
        (["business"], 0, (True, 60)),
        (["business"], 60, (False, 120)),
        (["business"], 200, (True, None)),
        (["nights"], 0, (True, 90)),
        ([f"{_ARN}business", "nights"], 0, (True, 60)),
        (["business", "nights"], 100, (False, None)),
    ],
)
def test_all_calendars_must_be_open(
    reader: AwsReader,
    clock: Clock,
    names: list[str],
    after_s: float,
    told: tuple[bool, int | None],
) -> None:
    """The next change is told where there is one."""
    began, (is_open, changes_s) = clock(), told
    clock.now += after_s
    state = reader.begin(clock()).calendar(names).value
    changes_at = None if changes_s is None else began + changes_s
    assert state == CalendarState(open=is_open, changes_at=changes_at)


def test_what_aws_does_not_tell_is_named(reader: AwsReader, aws: Emulator, clock: Clock) -> None:
    """A calendar that does not exist, and one that may not be read."""
    missing = reader.begin(clock()).calendar(["holidays"])
    assert (missing.value, missing.error) == (None, "GetCalendarState: InvalidDocument")

    def denied(operation: str, _: str) -> None:
        raise AwsError("AccessDeniedException", f"not allowed to call {operation}")

    aws.trouble = denied
    refused = reader.begin(clock()).calendar(["business"])
    assert (refused.value, refused.error) == (None, "GetCalendarState: AccessDeniedException")
