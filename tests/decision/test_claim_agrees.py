"""The claim refuses by the guards' own rules: for the same reason, in the same words."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from actions.execution import (
    circuit_breakers,
    claims,
    disruption_budget,
    kill_switch,
    rate_limits,
)
from actions.execution.rate_limits import Attempt, Counted
from actions.place import HOME
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from receiver.db.database import Database, database
from receiver.decision.decide import decide
from receiver.decision.model import Refuse
from tests.decision.test_decide import ASG, HOST, HOSTS, INPUTS, NOW, SCOPE, SNAPSHOT
from tests.executors import claim_request

_OTHER = "B" * 26


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Database]:
    state = database(f"sqlite:///{tmp_path}/state.db")
    state.migrate("state")
    yield state
    state.engine.dispose()


def _pause(connection: Connection) -> None:
    kill_switch.set_paused(connection, paused=True, by="alice", comment="stop", now=NOW)


def _hold(connection: Connection) -> None:
    claims.acquire(connection, claim_request(HOST, _OTHER, cooldown_s=60), NOW - 9)


def _cool(connection: Connection) -> None:
    _hold(connection)
    claims.release(connection, _OTHER)


def _hold_group(connection: Connection) -> None:
    claims.acquire(connection, claim_request(ASG, _OTHER), NOW - 9)


def _attempt_often(connection: Connection) -> None:
    for step in range(3):
        attempt = Attempt(
            run_id=_OTHER,
            step=StepKey(StepKind.LADDER, step),
            place=HOME,
            target=HOST,
            group=ASG,
            playbook="high-cpu",
            at=NOW - 9,
        )
        rate_limits.record(connection, attempt)


def _fail_often(connection: Connection) -> None:
    for _ in range(circuit_breakers.FAILURES):
        circuit_breakers.record_failure(connection, HOME, "high-cpu", NOW - 9)


def _reserve(connection: Connection) -> None:
    disruption_budget.reserve(connection, HOME, _OTHER, HOSTS[1], [SCOPE.name])


def _facts(connection: Connection, run_id: str) -> dict[str, Any]:
    return {
        "paused": kill_switch.read_paused(connection, HOME),
        "claims": claims.claims_on(connection, HOME, HOST, ASG),
        "attempts": {
            target: rate_limits.count(
                connection,
                Counted(place=HOME, target=target, group=ASG, playbook="high-cpu"),
                NOW,
            )
            for target in (HOST, ASG)
        },
        "breaker": circuit_breakers.read_breaker(connection, HOME, "high-cpu"),
        "reserved": disruption_budget.reserved_by_others(connection, HOME, run_id),
    }


@pytest.mark.parametrize(
    "change", [_pause, _hold, _cool, _hold_group, _attempt_often, _fail_often, _reserve]
)
def test_a_limit_is_refused_alike_early_and_late(
    state: Database, change: Callable[[Connection], None]
) -> None:
    """By the decision on its snapshot, and by the claim on the rows that it has locked."""
    run_id = INPUTS.trigger.run_id
    request = replace(
        claim_request(HOST, run_id),
        group=ASG,
        playbook="high-cpu",
        must_be_free=(ASG,),
        scopes=(SCOPE,),
    )
    with state.write() as connection:
        change(connection)
    with state.write() as connection:
        snapshot = replace(SNAPSHOT, **_facts(connection, run_id))
        early = decide(replace(INPUTS, snapshot=snapshot))
        late = claims.acquire(connection, request, NOW)
    assert isinstance(early, Refuse)
    assert isinstance(late, Refusal)
    assert (early.reason, early.detail) == (late.reason, late.detail)
