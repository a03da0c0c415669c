"""What is read of the records for a playbook's record, in both kinds of database."""

import time
from typing import Any

import pytest
from sqlalchemy import insert

from actions.place import HOME, Place
from receiver.db.database import Database
from receiver.db.tables import run_search, runs
from receiver.runs.model import Arm, FeedbackMark, HoldOutAssignment, State
from receiver.runs.store import to_row
from receiver.track_record import comparisons
from receiver.track_record.comparison import Agreement
from receiver.track_record.comparisons import Comparison
from receiver.track_record.habits import habits
from receiver.track_record.incidents import Answer
from receiver.track_record.judged_runs import judged_runs
from receiver.track_record.lift import Outcome, read_outcomes
from receiver.track_record.record import errors_by_service

_DAY_S = 86_400.0
_NOW = float(int(time.time()))


def _run(records: Database, number: int, /, **changed: Any) -> str:
    """A run that ended; one a day, the first the newest. It is known to what wants a target."""
    at, run_id = _NOW - (number + 1) * _DAY_S, f"{100 - number:026}"
    row: dict[str, Any] = {
        "id": run_id,
        "state": State.OBSERVED,
        "fingerprint": "f",
        "labels": {},
        "annotations": {},
        "starts_at": at,
        "received_at": at,
        "priority": 1,
        "lane": "web",
        "target": "i-1",
        "group_name": "web-asg",
        "playbook": "high-cpu",
        "playbook_digest": "d",
        "gates": [],
        "steps_begun": 0,
        "next_rung": 0,
        "updated_at": at,
        "ended_at": at + 60,
        "account": "",
        "region": "",
        **to_row(changed),
    }
    with records.write() as connection:
        connection.execute(insert(runs).values(row))
        found_by = {"alertname": "HighCPU", "severity": "warning", "text": ""}
        connection.execute(insert(run_search).values(run_id=run_id, **found_by))
    return run_id


def _compared(records: Database, run_id: str, agreement: Agreement, action: str | None) -> None:
    comparison = Comparison(
        run_id=run_id, agreement=agreement, action=action, calls=(), over_at=None, at=_NOW
    )
    with records.write() as connection:
        comparisons.save(connection, comparison)
        # The first one of a run stays.
        comparisons.save(connection, Comparison(**vars(comparison) | {"agreement": Agreement.OPEN}))
        assert comparisons.get(connection, run_id) == Comparison(**vars(comparison) | {"calls": []})


@pytest.fixture(params=["state", "empty"])
def records(request: pytest.FixtureRequest) -> Database:
    """SQLite, and PostgreSQL, each with nothing in it."""
    records: Database = request.getfixturevalue(request.param)
    records.migrate("state")
    return records


def test_each_run_speaks_for_what_is_known_of_it(records: Database) -> None:
    mark = FeedbackMark(right=False, by="ann", comment="", at=_NOW)
    waiting = _run(records, 0)
    _compared(records, _run(records, 1), Agreement.AGREE, "reboot_instance")
    _run(records, 2, steps_begun=1, state=State.FAILED)
    _run(records, 3, steps_begun=1, state=State.SUCCEEDED, relapsed_by=waiting)
    _run(records, 4, steps_begun=1, state=State.SUCCEEDED, mark=mark)
    _run(records, 5, playbook_digest="of another", mark=mark)
    for number in (6, 7, 8):
        run_id = _run(records, number, state=State.REFUSED, refusal="no_playbook", playbook=None)
        _compared(records, run_id, Agreement.MISSED, "reboot_instance")
    with records.read() as connection:
        judged = judged_runs(connection, since=0.0, playbook="high-cpu", digest="d")
        elsewhere = judged_runs(connection, since=0.0, place=Place("123456789012", "eu-west-1"))
        unanswered = comparisons.without(connection, since=0.0, until=_NOW, after="", limit=9)
        errors = errors_by_service(connection, since=_NOW - 4.5 * _DAY_S, place=HOME)
        (habit,) = habits(connection, since=0.0)
    expected = [Answer.WRONG, Answer.RELAPSED, Answer.FAILED, Answer.AGREE]
    assert [run.answer for run in judged] == expected
    assert {(run.service, run.target) for run in judged} == {("web-asg", "i-1")}
    assert elsewhere == []
    assert [run.id for run in unanswered] == [f"{95:026}", waiting]
    assert errors == {"web-asg": [_NOW - 4 * _DAY_S, _NOW - 3 * _DAY_S]}
    assert (habit.alertname, habit.days) == ("HighCPU", 3)


def test_an_outcome_is_known_once_it_lasted(records: Database) -> None:
    """Neither what is cancelled, nor what may still come again."""

    def arm(of: Arm, number: int) -> HoldOutAssignment:
        at = _NOW - (number + 1) * _DAY_S
        return HoldOutAssignment(arm=of, at=at, wait_s=600.0, relapse_s=_DAY_S / 4)

    def after(number: int, seconds: float) -> float:
        return _NOW - (number + 1) * _DAY_S + seconds

    acted = {"steps_begun": 1, "state": State.SUCCEEDED}
    _run(records, 0, **acted, holdout=arm(Arm.ACTED, 0), recovered_since=after(0, 90))
    late = {"holdout": arm(Arm.ACTED, 1), "recovered_since": after(1, 601)}
    _run(records, 1, **acted, **late)
    _run(records, 2, holdout=arm(Arm.HELD, 2), recovered_since=after(2, 300))
    _run(records, 3, **acted, holdout=arm(Arm.HELD, 3), recovered_since=after(3, 700))
    _run(records, 4, state=State.CANCELLED, holdout=arm(Arm.HELD, 4))
    with records.read() as connection:
        known = read_outcomes(connection, since=0.0, now=_NOW)["high-cpu"]
        early = read_outcomes(connection, since=0.0, now=_NOW - 0.9 * _DAY_S)["high-cpu"]
    outcomes = [(outcome.arm, outcome.after_s) for outcome in known]
    assert outcomes == [
        (Arm.HELD, None),
        (Arm.HELD, 300.0),
        (Arm.ACTED, None),
        (Arm.ACTED, 90.0),
    ]
    assert Outcome(arm=Arm.ACTED, wait_s=600.0, after_s=None).time_s == 600.0
    assert len(early) == 3
