"""The figures that justify an arming, counted from runs in both kinds of database."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from ulid import ULID

from actions.place import HOME
from receiver.controls.promotion_criteria import Figures, figures, goes_further, shortfalls
from receiver.controls.records import ALL, ArmedMode
from receiver.db.database import Database
from receiver.runs import intake, store, transitions
from receiver.runs.model import Approval, FeedbackMark, Run, RunRequest, State
from receiver.settings import Mode
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.payload import Alert
from tests.decision.test_decide import PLAYBOOKS
from tests.plans import stored_plan

_PLAYBOOK = PLAYBOOKS[0]
_NOW = 1_800_000_000.0
_NONE = Figures(
    since=None, planned=0, observed=0, acted=0, recovered=0, failed=0, denied=0, right=0, wrong=0
)


def _run(state: Database, to: State, *, at: float = _NOW, **changes: Any) -> None:
    run_id = str(ULID())
    alert = Alert(
        key=run_id[-16:],
        fingerprint=run_id[-16:],
        firing=True,
        labels={"alertname": "HighCPU", "asg": changes.pop("group", "web-asg")},
        annotations={},
        starts_at=at,
        ends_at=None,
    )
    with state.write() as connection:
        intake.insert_from_inbox(
            connection, [QueuedAlert(id=run_id, received_at=at, alert=alert)], at
        )
        run = store.get(connection, run_id)
        assert isinstance(run, Run)
        plan = stored_plan(playbook_digest=_PLAYBOOK.digest)
        assert transitions.move(
            connection, run, to, at, **{"playbook": _PLAYBOOK.name, "plan": plan, **changes}
        )


@pytest.mark.parametrize("kind", ["state", "shared"])
def test_each_run_counts_for_what_became_of_it(kind: str, request: pytest.FixtureRequest) -> None:
    """Only those of this very playbook that came to a plan, and were no dry run."""
    state: Database = request.getfixturevalue(kind)
    mark = FeedbackMark(right=True, by="alice", comment="wrong", at=_NOW)
    denial = Approval(digest="d", by="alice", comment="right", at=_NOW, denied=True)
    dry_run = RunRequest(
        by="alice", role="operator", comment="", playbook="p", target="web-asg", dry_run=True
    )
    _run(state, State.OBSERVED, at=_NOW - 100, mark=replace(mark, right=False))
    _run(state, State.OBSERVED, group="api-asg")
    _run(state, State.SUCCEEDED, steps_begun=1, mark=mark)
    _run(state, State.FAILED, steps_begun=2)
    _run(state, State.ROLLED_BACK, steps_begun=1, group="api-asg")
    _run(state, State.CANCELLED, approval=denial)
    _run(state, State.OBSERVED, request=dry_run)
    _run(state, State.OBSERVED, plan=stored_plan(playbook_digest="of another"))
    _run(state, State.REFUSED, plan=None, mark=replace(mark, right=False))
    _run(state, State.OBSERVED, playbook="another")
    with state.read() as connection:
        everything = figures(connection, _PLAYBOOK, HOME, ALL, None)
        of_web = figures(connection, _PLAYBOOK, HOME, "web-asg", _NOW)
    whole = asdict(_NONE) | {"planned": 6, "observed": 2, "acted": 3, "recovered": 1, "failed": 2}
    assert asdict(everything) == whole | {"denied": 1, "right": 1, "wrong": 1}
    assert asdict(of_web) == asdict(_NONE) | {
        "since": _NOW,
        "planned": 3,
        "acted": 2,
        "recovered": 1,
        "failed": 1,
        "denied": 1,
        "right": 1,
    }


@pytest.mark.parametrize(
    ("present", "percent", "wanted", "to_percent", "further"),
    [
        (Mode.AUTO, 100, Mode.APPROVE, 100, False),
        (Mode.AUTO, 10, Mode.APPROVE, 100, False),
        (Mode.AUTO, 100, Mode.AUTO, 10, False),
        (Mode.APPROVE, 25, Mode.APPROVE, 25, False),
        (Mode.AUTO, 10, Mode.AUTO, 25, True),
        (Mode.OBSERVE, 100, Mode.APPROVE, 10, True),
    ],
)
def test_only_going_further_needs_a_record(
    present: Mode, percent: int, wanted: Mode, to_percent: int, *, further: bool
) -> None:
    """A larger canary is further, and a wrong mark stands in its way."""
    now = ArmedMode(mode=present, why="so", canary_percent=percent)
    wrong = replace(_NONE, observed=9, recovered=9, wrong=1)
    assert bool(list(shortfalls(now, wanted, to_percent, wrong))) == further
    assert goes_further(now, wanted, to_percent) == further
    right = replace(wrong, wrong=0)
    assert list(shortfalls(now, wanted, to_percent, right)) == []


@pytest.mark.parametrize("present", [Mode.APPROVE, Mode.AUTO])
def test_one_of_twenty_may_go_wrong_of_what_acts_by_itself(present: Mode) -> None:
    """On the way to it, and to more targets; what a person approves is theirs to judge."""
    now = ArmedMode(mode=present, why="so", canary_percent=10)
    well = replace(_NONE, observed=19, acted=20, recovered=19, failed=1)
    assert list(shortfalls(now, Mode.AUTO, 100, well)) == []
    for worse in (replace(well, acted=19), replace(well, failed=2), replace(well, denied=2)):
        assert len(list(shortfalls(now, Mode.AUTO, 100, worse))) == 1
        observing = replace(now, mode=Mode.OBSERVE)
        assert list(shortfalls(observing, Mode.APPROVE, 100, worse)) == []
