"""What people do from a chat: the verbs, each with the role it needs.

A verb does what its call of the API does, through the same functions and into the same audit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from actions.audit.log import Origin, coming_from
from actions.execution import kill_switch, ledger
from receiver.chat.users import ChatUser
from receiver.http.tokens import Role
from receiver.runs import store
from receiver.runs.model import IN_FLIGHT, Mark, Run, State
from receiver.runtime.redaction import plain
from receiver.runtime.rfc3339 import rfc3339
from receiver.system import System
from receiver.workflow.interventions import NoSuchRunError, NotNowError

_WAITING_MOST, _LISTED = 10, 10
_COMMENT_MOST = 1000
HELP = """status: whether it is paused, and what waits for you
runs: the latest
why RUN: what became of it, and why
approve RUN COMMENT, deny RUN COMMENT, cancel RUN COMMENT, rollback RUN COMMENT
mark RUN right|wrong COMMENT
pause COMMENT, resume COMMENT
ask QUESTION: in your own words"""


@dataclass(frozen=True)
class Reply:
    """Plain text; `waiting` are runs that wait for approval, as they were shown."""

    text: str
    waiting: tuple[Run, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who says what, and from where: `address` as the audit keeps it."""

    user: ChatUser
    text: str
    address: str
    request_id: str


class _CannotError(Exception):
    """The text says why not."""


@dataclass(frozen=True, kw_only=True)
class ChatOps:
    """`ask` answers questions; None where that is switched off."""

    system: System
    ask: Callable[[str], str] | None = None

    def answer(self, request: Request) -> Reply:
        """Do what is said, or say why not."""
        verb, _, rest = request.text.strip().partition(" ")
        needed, do = self._verbs().get(verb.lower(), (Role.VIEWER, None))
        if do is None:
            return Reply(HELP)
        return self._done(request, needed, do, rest.strip())

    def _done(
        self, request: Request, needed: Role, do: Callable[[Request, str], Reply], rest: str
    ) -> Reply:
        if not request.user.role.may(needed):
            return Reply(f"That needs the role {needed}; yours is {request.user.role}.")
        origin = Origin(
            name=request.user.name,
            role=str(request.user.role),
            address=request.address,
            request_id=request.request_id,
        )
        try:
            with coming_from(origin):
                return do(request, rest)
        except NoSuchRunError:
            return Reply("There is no such run.")
        except (NotNowError, _CannotError) as error:
            return Reply(str(error))

    def decide_on(self, request: Request, *, approve: bool, run_id: str, digest: str) -> Reply:
        """A button: the very plan that was shown, or nothing."""
        doing = self.system.interventions
        how = partial(doing.approve, digest=digest) if approve else doing.deny
        do = self._doing(how, "Approved" if approve else "Denied")
        return self._done(request, Role.OPERATOR, do, f"{run_id} by a button in the chat")

    def _verbs(self) -> Mapping[str, tuple[Role, Callable[[Request, str], Reply]]]:
        doing = self.system.interventions
        return {
            "status": (Role.VIEWER, self._status),
            "runs": (Role.VIEWER, self._latest),
            "why": (Role.VIEWER, self._why),
            "ask": (Role.VIEWER, self._ask),
            "pause": (Role.OPERATOR, lambda who, text: self._turn(who, text, paused=True)),
            "resume": (Role.OPERATOR, lambda who, text: self._turn(who, text, paused=False)),
            "approve": (Role.OPERATOR, self._doing(doing.approve, "Approved")),
            "deny": (Role.OPERATOR, self._doing(doing.deny, "Denied")),
            "cancel": (Role.OPERATOR, self._doing(doing.cancel, "Cancelled")),
            "rollback": (Role.OPERATOR, self._doing(doing.roll_back, "Rolling back")),
            "mark": (Role.OPERATOR, self._mark),
        }

    def _status(self, _: Request, __: str) -> Reply:
        with self.system.database.read() as connection:
            state = kill_switch.read_switch(connection)
            flying = store.count(connection, IN_FLIGHT)
            waiting = store.page(connection, state=State.AWAITING_APPROVAL, limit=_WAITING_MOST)
        lines = ["It is not known whether it is paused: nothing acts."]
        if state is not None and state.paused:
            by, since = plain(state.changed_by), rfc3339(state.changed_at)
            lines = [f"PAUSED by {by} since {since}: {plain(state.comment)}"]
        elif state is not None:
            lines = [f"Running, mode {self.system.settings.mode}"]
        lines += [f"{flying} runs in flight, {len(waiting)} wait for approval"]
        return Reply("\n".join([*lines, *map(_line, waiting)]), tuple(waiting))

    def _latest(self, _: Request, __: str) -> Reply:
        with self.system.database.read() as connection:
            found = store.page(connection, limit=_LISTED)
        return Reply("\n".join(map(_line, found)) or "There are no runs.")

    def _why(self, _: Request, text: str) -> Reply:
        run = self._run(text.partition(" ")[0].upper())
        if run is None:
            raise NoSuchRunError
        with self.system.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        lines = [_line(run), plain(run.outcome or "")]
        lines += [
            f"stopped at {g['name']}: {plain(g['detail'])}" for g in run.gates if not g["passed"]
        ]
        lines += [f"{one.action} on {one.target}: {one.outcome or one.stage}" for one in steps]
        waits = (run,) if run.state is State.AWAITING_APPROVAL else ()
        return Reply("\n".join(filter(None, lines)), waits)

    def _ask(self, _: Request, text: str) -> Reply:
        if self.ask is None:
            raise _CannotError("Asking is not switched on.")
        if not text:
            raise _CannotError("Ask what?")
        return Reply(self.ask(text))

    def _turn(self, request: Request, text: str, *, paused: bool) -> Reply:
        with self.system.database.write() as connection:
            kill_switch.set_paused(
                connection,
                paused=paused,
                by=request.user.name,
                comment=_comment(text),
                now=self.system.clock(),
            )
        return Reply("Paused: nothing acts." if paused else "Resumed.")

    def _doing(
        self, how: Callable[[str, str, str], None], said: str
    ) -> Callable[[Request, str], Reply]:
        def do(request: Request, text: str) -> Reply:
            run_id, _, comment = text.partition(" ")
            how(run_id.upper(), request.user.name, _comment(comment))
            return Reply(f"{said}: run {plain(run_id.upper())}")

        return do

    def _mark(self, request: Request, text: str) -> Reply:
        run_id, _, rest = text.partition(" ")
        said, _, comment = rest.strip().partition(" ")
        if said not in set(Mark):
            raise _CannotError("Was it right or wrong? mark RUN right|wrong COMMENT")
        self.system.interventions.mark(
            run_id.upper(), request.user.name, _comment(comment), right=said == Mark.RIGHT
        )
        return Reply(f"Marked as {said}: run {plain(run_id.upper())}")

    def _run(self, run_id: str) -> Run | None:
        self.system.assessor.take_in()
        with self.system.database.read() as connection:
            return store.get(connection, run_id)


def _comment(text: str) -> str:
    comment = "".join(one for one in text.strip() if one.isprintable())[:_COMMENT_MOST]
    if not comment:
        raise _CannotError("Say why: a comment is needed.")
    return comment


def _line(run: Run) -> str:
    """One line; what an alert says of itself is not in it."""
    action = f", {run.plan['action']}" if run.plan else ""
    reason = f" ({run.refusal})" if run.refusal else ""
    target = plain(run.target or "no target")
    return f"{run.id} {run.state}{reason}: {run.playbook or 'no playbook'} on {target}{action}"
