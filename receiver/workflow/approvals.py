"""People's approvals of a waiting plan: who may approve, and how many people must."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, select, update

from actions.audit import log
from actions.execution import kill_switch
from actions.place import HOME
from receiver.db.database import Database
from receiver.db.tables import runs
from receiver.runs import store, transitions
from receiver.runs.model import Approval, ApprovalRule, Run, State, StoredPlan
from receiver.runs.queries import search_text
from receiver.runtime.periodic import Periodic
from receiver.sso.people import is_known

_logger = structlog.get_logger()
_EVERY_S = 1.0
# A run has a few records for each of at most ten steps.
_RECORDS_MOST = 500
_APPROVED = select(runs.c.id).where(runs.c.state == State.AWAITING_APPROVAL, runs.c.approvals != [])


class NoSuchRunError(Exception):
    """There is no run with this id."""


class NotNowError(Exception):
    """The run's state does not allow the command, or has just changed; the text has the reason."""


class PlanChangedError(NotNowError):
    """The answer is for the plan `given`, but the run's plan is now `current`."""

    def __init__(self, given: Mapping[str, Any], current: Mapping[str, Any]) -> None:
        super().__init__(
            f"nothing was changed: the answer is for the plan {_name(given)}, but the run now has "
            f"the plan {_name(current)}"
        )
        self.given, self.current = given, current


class NotAllowedError(Exception):
    """The person may not approve the plan; the text has the reason."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The effect of a command as text; `waits`: the run still waits."""

    text: str
    waits: bool = False


@dataclass(kw_only=True)
class Approvals:
    """Checks and stores each approval in one transaction, so that concurrent ones all count.

    An approved plan waits for the end of a pause. `wake` wakes the dispatcher, which decides the
    run again; the decision must yield the same plan.
    """

    database: Database
    clock: Callable[[], float]
    wake: Callable[[], None]
    # Whether an identity provider names people. Then only those whom it has named are told apart.
    named_people: bool = False
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("approvals", _EVERY_S, self.run_once)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def approve(self, run_id: str, given: Approval) -> Answer:
        """Raises NoSuchRunError, NotNowError, NotAllowedError."""
        with self.database.write() as connection:
            run = _locked(connection, run_id)
            plan = require_plan(connection, run, given.digest, "approved")
            rule, now = plan.approvals, self.clock()
            if now >= (run.next_act_at or now):
                raise NotNowError("the time to approve the plan has passed")
            if rule.excludes(given.person, run.request):
                raise NotAllowedError(
                    f"{given.person} requested the run, and its plan needs the approval of {rule}"
                )
            self._require_named(connection, rule, given.person)
            known = [approval for approval in run.approvals if approval.digest == plan.digest]
            new = all(approval.person != given.person for approval in known)
            approvals = [*known, given] if new else known
            if new:
                _store(connection, run, approvals, now)
            text = f"approved {plan.action} on {plan.target} (plan {plan.digest[:8]})"
            missing = rule.people - rule.count(approvals, run.request)
            if missing > 0:
                return Answer(text=f"{text}; the plan needs {rule}, {missing} more", waits=True)
            if kill_switch.read_paused(connection, run.place) is not False:
                return Answer(
                    text=f"{text}; the step waits, because the service is paused", waits=True
                )
            _decide(connection, run, approvals, now)
        self.wake()
        return Answer(text=text)

    def _require_named(self, connection: Connection, rule: ApprovalRule, person: str) -> None:
        """Raise NotAllowedError where the same person could be somebody else at another door."""
        told_apart = rule.people > 1 or rule.excluded
        if self.named_people and told_apart and not is_known(connection, person):
            raise NotAllowedError(
                f"{person} has not logged in by the identity provider, and the plan needs the "
                f"approval of {rule}: give the token or chat user the person's name there"
            )

    def run_once(self) -> None:
        """Continue runs whose plans were approved during a pause, once it is over."""
        try:
            if self._release():
                self.wake()
        except Exception:
            _logger.exception("approved_runs_not_continued")

    def _release(self) -> int:
        with self.database.ask() as connection:
            run_ids = connection.scalars(_APPROVED).all()
            if run_ids and kill_switch.read_paused(connection, HOME) is not False:
                return 0
        released = 0
        for run_id in run_ids:
            with self.database.write() as connection:
                run = _locked(connection, run_id)
                paused = kill_switch.read_paused(connection, run.place) is not False
                if run.state is State.AWAITING_APPROVAL and run.is_approved and not paused:
                    released += _decide(connection, run, run.approvals, self.clock())
        return released


def require_plan(connection: Connection, run: Run, digest: str, participle: str) -> StoredPlan:
    """The waiting plan of the run. Raises NotNowError if it does not have this digest."""
    if run.state is not State.AWAITING_APPROVAL:
        raise NotNowError(f"a run that is {run.state} cannot be {participle}")
    return require_same_plan(connection, run, digest)


def require_same_plan(connection: Connection, run: Run, digest: str) -> StoredPlan:
    """The plan of the run. Raises NotNowError if it does not have this digest."""
    plan = run.plan
    if plan is None:
        raise NotNowError("the run has no plan")
    if plan.digest != digest:
        raise PlanChangedError(_former_plan(connection, run, digest), _shown(asdict(plan)))
    return plan


def _locked(connection: Connection, run_id: str) -> Run:
    """The run, locked to the end of the transaction. Raises NoSuchRunError.

    SQLite needs no such lock, because it has only one writer.
    """
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update())
    run = store.get(connection, run_id)
    if run is None:
        raise NoSuchRunError
    return run


def _store(connection: Connection, run: Run, approvals: Sequence[Approval], now: float) -> None:
    """Store one more approval, with its audit record; the run still waits."""
    given = approvals[-1]
    values = {"approvals": approvals, "updated_at": now}
    connection.execute(update(runs).where(runs.c.id == run.id).values(values))
    search_text.add_changes(connection, {run.id: {"person": given.by}})
    detail = {"comment": given.comment, "plan": given.digest, "person": given.person}
    event = log.Event(
        actor=given.by, event="run_approved_by_a_person", run_id=run.id, detail=detail
    )
    log.append(connection, now, event)


def _decide(connection: Connection, run: Run, approvals: Sequence[Approval], now: float) -> bool:
    return transitions.move(
        connection,
        run,
        State.DECIDING,
        now,
        phase=None,
        next_act_at=None,
        approval=approvals[-1],
    )


def _former_plan(connection: Connection, run: Run, digest: str) -> dict[str, Any]:
    """The plan with this digest, as far as the audit still has it."""
    asked = [
        record
        for record in log.records(connection, run_id=run.id, limit=_RECORDS_MOST)
        if record["event"] == f"run_{State.AWAITING_APPROVAL}"
    ]
    plans = [json.loads(record["detail"])["plan"] for record in asked]
    return next((_shown(plan) for plan in plans if plan["digest"] == digest), {"digest": digest})


def _shown(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plan[name] for name in ("digest", "action", "target", "params")}


def _name(plan: Mapping[str, Any]) -> str:
    step = f" ({plan['action']} on {plan['target']})" if "action" in plan else ""
    return f"{plan['digest'][:8]}{step}"
