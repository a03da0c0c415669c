"""Moves runs from state to state, each time with an audit record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, update

from actions.audit import log
from actions.driver import Statement
from actions.execution import claims
from receiver.db.tables import runs
from receiver.runs.model import Run, State
from receiver.runs.queries import search_text
from receiver.runs.store import to_row

ACTOR = "smartcloudops"


@dataclass(frozen=True)
class Transition:
    """A run's next state; `changes` are columns of runs.

    `command` is the audit record of the person who ordered it.
    """

    run: Run
    state: State
    changes: Mapping[str, Any]
    command: log.Event | None = None


def move(
    connection: Connection,
    run: Run,
    state: State,
    now: float,
    *,
    command: log.Event | None = None,
    **changes: Any,
) -> bool:
    """Move a run to a state, with its audit record; False if it changed after `run` was read.

    An ended run gives up its claims in the same transaction.
    """
    return bool(move_all(connection, [Transition(run, state, changes, command)], now))


def move_all(
    connection: Connection, transitions: Sequence[Transition], now: float
) -> Sequence[Transition]:
    """Make each transition as `move` does. Returns those that were made."""
    made = [transition for transition in transitions if _update(connection, transition, now)]
    search_text.add_changes(connection, {change.run.id: _searched(change) for change in made})
    ended = [transition.run for transition in made if transition.state.ended]
    claims.release(connection, *(run.id for run in ended))
    for run in ended:
        if run.steps_begun:
            claims.forget_unsent(connection, run.id, now)
    log.append(
        connection, now, *(event for transition in made for event in _events(transition, now))
    )
    return made


# Updates a run only if it did not change after it was read. Built once, as every decision runs it.
_UPDATE_UNMOVED = Statement(
    update(runs).where(
        runs.c.id == bindparam("was_id"),
        runs.c.state == bindparam("was_state"),
        runs.c.phase.is_not_distinct_from(bindparam("was_phase")),
        # Compared as well, because a run that acted may have returned to the same state.
        runs.c.steps_begun == bindparam("was_begun"),
    )
)


def _update(connection: Connection, transition: Transition, now: float) -> bool:
    run = transition.run
    row = to_row(_values(transition, now))
    was = {
        "was_id": run.id,
        "was_state": run.state,
        "was_phase": run.phase,
        "was_begun": run.steps_begun,
    }
    return _UPDATE_UNMOVED.count(connection, {**was, **row}) == 1


def _values(transition: Transition, now: float) -> dict[str, Any]:
    state = transition.state
    ended: Mapping[str, Any] = {"ended_at": now, "phase": None} if state.ended else {}
    return {"state": state, "updated_at": now, **transition.changes, **ended}


def _searched(transition: Transition) -> Mapping[str, Any]:
    """What the run is found by from now on: changed columns, and who ordered the change."""
    changes, approval = transition.changes, transition.changes.get("approval")
    command = transition.command
    person = command.actor if command else approval.by if approval else None
    same = vars(transition.run)
    changed = {name: value for name, value in changes.items() if value != same.get(name)}
    return {**changed, "person": person}


def _events(transition: Transition, now: float) -> Iterator[log.Event]:
    yield _event(transition, now)
    if transition.command is not None:
        yield transition.command


def _event(transition: Transition, now: float) -> log.Event:
    values = _values(transition, now).items()
    detail = {name: value for name, value in values if name not in {"updated_at", "evidence"}}
    event, run_id = f"run_{transition.state}", transition.run.id
    return log.Event(actor=ACTOR, event=event, run_id=run_id, detail=detail)
