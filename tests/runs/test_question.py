"""The question to a person: what is done to whom, who still serves, and what comes next."""

from actions.catalog.registry import CATALOG
from receiver.runs.consequences import Consequences
from receiver.runs.model import PlannedAction
from receiver.runs.question import question
from tests.plans import stored_plan

_HOST = "i-0123456789abcdef0"


def test_a_reboot_tells_its_consequences() -> None:
    """Target with name and address, capacity, time, the next step, and rollback."""
    known = Consequences(
        name="web-3",
        address="10.0.0.9",
        members=6,
        stay=5,
        limit=1,
        next_action="replace_instance",
        next_asks=True,
    )
    assert question(stored_plan(group="web-asg", consequences=known)) == (
        f"Reboot {_HOST} (web-3, 10.0.0.9) in web-asg? 5 of 6 stay in service; the limit is 1. "
        "AWS may take up to 6 min, then recovery is watched for up to 0 s. "
        "If it does not help: replace instance (terminates), asked again. "
        "Rolled back on failure: no, it cannot be."
    )


def test_a_plan_of_an_earlier_release_is_asked_without_what_is_unknown() -> None:
    """Nothing is guessed; a name in a tag is no markup of a chat."""
    told = question(stored_plan(escalate=[PlannedAction(action="notify", params={})]))
    assert told.startswith(f"Reboot {_HOST}? AWS may take up to")
    assert "If it does not help: notify, a person is needed." in told
    hostile = Consequences(name="<!channel> *now*\nlook")
    assert "(!channel now look)" in question(stored_plan(consequences=hostile))


def test_what_took_some_time_before_takes_about_as_long() -> None:
    """The last runs in which the step helped say more than what AWS allows at most."""
    once = Consequences(took_s=140.0, times=1)
    assert "Takes about 2 min, as the last time." in question(stored_plan(consequences=once))
    often = Consequences(took_s=42.0, times=5)
    assert "Takes about 42 s, as the last 5 times." in question(stored_plan(consequences=often))


def test_every_action_can_be_asked() -> None:
    """With its parameters, and whether a failure rolls it back."""
    for name in CATALOG:
        asked = question(stored_plan(action=name, params={"desired": 3}, rollback=True))
        assert "with desired 3?" in asked
        assert ("Rolled back on failure: yes" in asked) == bool(CATALOG[name].undone_by)
