"""The commands of the chat, each with the role that it requires.

A command calls the same function as the API, which records it in the audit.
"""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from actions.audit.log import Origin, coming_from
from actions.execution import kill_switch, ledger
from receiver.chat.lines import DIGEST_LEAST, failed_gate, summary
from receiver.chat.parts import Parts
from receiver.chat.users import ChatUser
from receiver.http.access.callers import Role
from receiver.runs import store
from receiver.runs.model import IN_FLIGHT, Mark, Run, State
from receiver.runs.queries import listing, search
from receiver.runs.queries.search import RunFilter
from receiver.runs.subjects import subjects_of
from receiver.runtime.redaction import plain
from receiver.runtime.rfc3339 import rfc3339
from receiver.workflow.approvals import Answer, NoSuchRunError, NotAllowedError, NotNowError

_AWAITING_MOST, _LATEST_MOST = 10, 10
_COMMENT_CHARS_MOST = 1000
HELP = """status: whether actions are paused, and the runs that await approval
runs: the latest runs
why RUN: the state of a run, and the reason
approve RUN PLAN COMMENT, deny RUN PLAN COMMENT: `status` and `why` show the PLAN's number
cancel RUN COMMENT, rollback RUN COMMENT
mark RUN right|wrong COMMENT: feedback on the decision of an ended run
pause COMMENT, resume COMMENT
ask QUESTION: a question in plain language"""


@dataclass(frozen=True)
class Reply:
    """Plain text, and the runs that get approval buttons."""

    text: str
    awaiting: tuple[Run, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A command with its user; `address` is the origin that the audit records."""

    user: ChatUser
    text: str
    address: str
    request_id: str


class _RefusedError(Exception):
    """The message is the reply."""


_Command = Callable[[ChatRequest, str], Reply]


@dataclass(frozen=True, kw_only=True)
class ChatCommands:
    """Runs commands; `ask` answers a question, None if no assistant is configured."""

    parts: Parts
    ask: Callable[[str], str] | None = None

    def handle(self, request: ChatRequest) -> Reply:
        """Run a command; the reply is its result, or the reason for its refusal."""
        name, _, text = request.text.strip().partition(" ")
        role, command = self._commands().get(name.lower(), (Role.VIEWER, None))
        if command is None:
            return Reply(HELP)
        return self._run_command(request, role, command, text.strip())

    def _run_command(self, request: ChatRequest, role: Role, command: _Command, text: str) -> Reply:
        if not request.user.role.may(role):
            return Reply(f"This requires the role {role}; yours is {request.user.role}.")
        origin = Origin(
            name=request.user.name,
            role=str(request.user.role),
            address=request.address,
            request_id=request.request_id,
        )
        try:
            with coming_from(origin):
                return command(request, text)
        except NoSuchRunError:
            return Reply("There is no such run.")
        except (NotNowError, NotAllowedError, _RefusedError) as error:
            return Reply(str(error))

    def handle_approval(
        self, request: ChatRequest, *, approve: bool, run_id: str, digest: str
    ) -> Reply:
        """Approve or deny by a button, only for the plan with this digest."""
        commands = self.parts.commands
        intervene = commands.approve if approve else commands.deny
        person = request.user.caller.person
        command = self._intervention(partial(intervene, plan=digest, person=person))
        text = f"{run_id} by a button in the chat"
        return self._run_command(request, Role.OPERATOR, command, text)

    def _commands(self) -> Mapping[str, tuple[Role, _Command]]:
        commands = self.parts.commands
        return {
            "status": (Role.VIEWER, self._status),
            "runs": (Role.VIEWER, self._latest),
            "why": (Role.VIEWER, self._why),
            "ask": (Role.VIEWER, self._ask),
            "pause": (
                Role.OPERATOR,
                lambda request, text: self._switch(request, text, paused=True),
            ),
            "resume": (
                Role.OPERATOR,
                lambda request, text: self._switch(request, text, paused=False),
            ),
            "approve": (Role.OPERATOR, self._answer_plan(commands.approve)),
            "deny": (Role.OPERATOR, self._answer_plan(commands.deny)),
            "cancel": (Role.OPERATOR, self._intervention(commands.cancel)),
            "rollback": (Role.OPERATOR, self._intervention(commands.roll_back)),
            "mark": (Role.OPERATOR, self._feedback),
        }

    def _status(self, request: ChatRequest, _: str) -> Reply:
        scopes = request.user.caller.scopes(Role.VIEWER)
        with self.parts.database.read() as connection:
            state = kill_switch.read_switch(connection)
            in_flight = store.count(connection, IN_FLIGHT)
            awaiting = search.list_runs(
                connection,
                RunFilter(state=State.AWAITING_APPROVAL, scopes=scopes),
                limit=_AWAITING_MOST,
            )
        lines = ["The state of the kill switch is unknown, so no step is sent."]
        if state is not None and state.paused:
            by, since = plain(state.changed_by), rfc3339(state.changed_at)
            lines = [f"PAUSED by {by} since {since}: {plain(state.comment)}"]
        elif state is not None:
            lines = [f"Running, mode {self.parts.settings.mode}"]
        lines += [f"{in_flight} runs in flight, {len(awaiting)} await approval"]
        return Reply("\n".join([*lines, *map(summary, awaiting)]), tuple(awaiting))

    def _latest(self, request: ChatRequest, _: str) -> Reply:
        parts = self.parts
        seen = RunFilter(scopes=request.user.caller.scopes(Role.VIEWER))
        with parts.inbox.database.read() as inbox, parts.database.read() as connection:
            latest = listing.list_runs(connection, inbox, seen, limit=_LATEST_MOST)
        return Reply("\n".join(map(summary, latest)) or "There are no runs.")

    def _why(self, request: ChatRequest, text: str) -> Reply:
        run = self._run(request, text.partition(" ")[0].upper(), Role.VIEWER)
        if run is None:
            raise NoSuchRunError
        with self.parts.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        lines = [summary(run), plain(run.outcome or "")]
        lines += [plain(reason.text) for reason in run.verdict.contributions] if run.verdict else []
        lines += [failed_gate(gate, run.outcome) for gate in run.gates if not gate.passed]
        lines += [f"{step.action} on {step.target}: {step.outcome or step.stage}" for step in steps]
        awaiting = (run,) if run.state is State.AWAITING_APPROVAL else ()
        return Reply("\n".join(filter(None, lines)), awaiting)

    def _ask(self, request: ChatRequest, text: str) -> Reply:
        _require_everywhere(request, Role.VIEWER)
        if self.ask is None:
            raise _RefusedError(
                "The assistant is off: set SMARTCLOUDOPS_ASK_URL and SMARTCLOUDOPS_ASK_MODEL."
            )
        if not text:
            raise _RefusedError("Write your question after `ask`.")
        return Reply(self.ask(text))

    def _switch(self, request: ChatRequest, text: str, *, paused: bool) -> Reply:
        _require_everywhere(request, Role.OPERATOR)
        with self.parts.database.write() as connection:
            why = kill_switch.why_distrusted(connection)
            if why is not None and not paused:
                raise _RefusedError(f"An admin must accept the records by the API: {plain(why)}")
            kill_switch.set_paused(
                connection,
                paused=paused,
                by=request.user.name,
                comment=_comment(text),
                now=self.parts.clock(),
            )
        return Reply("Paused: no new actions." if paused else "Resumed.")

    def _intervention(self, intervene: Callable[[str, str, str], Answer]) -> _Command:
        def command(request: ChatRequest, text: str) -> Reply:
            run_id, _, comment = text.partition(" ")
            self._run(request, run_id.upper(), Role.OPERATOR)
            answer = intervene(run_id.upper(), request.user.name, _comment(comment))
            return Reply(f"Run {plain(run_id.upper())}: {answer.text}")

        return command

    def _answer_plan(self, intervene: Callable[..., Answer]) -> _Command:
        """A command names a plan by its digest, or by the part of it that the chat shows."""

        def command(request: ChatRequest, text: str) -> Reply:
            run_id, _, rest = text.partition(" ")
            given, _, comment = rest.strip().partition(" ")
            if len(given) < DIGEST_LEAST or set(given.lower()) - set(string.hexdigits):
                raise _RefusedError(
                    "Which plan? The command is approve RUN PLAN COMMENT, or deny; `why RUN` shows "
                    "the plan."
                )
            run = self._run(request, run_id.upper(), Role.OPERATOR)
            plan = run.plan.digest if run and run.plan else ""
            digest = plan if plan.startswith(given.lower()) else given.lower()
            of_plan = partial(intervene, plan=digest, person=request.user.caller.person)
            return self._intervention(of_plan)(request, f"{run_id} {comment}")

        return command

    def _feedback(self, request: ChatRequest, text: str) -> Reply:
        run_id, _, rest = text.partition(" ")
        mark, _, comment = rest.strip().partition(" ")
        if mark not in set(Mark):
            raise _RefusedError("Right or wrong? The command is mark RUN right|wrong COMMENT.")
        self._run(request, run_id.upper(), Role.OPERATOR)
        self.parts.commands.mark(
            run_id.upper(), request.user.name, _comment(comment), right=mark == Mark.RIGHT
        )
        return Reply(f"Marked as {mark}: run {plain(run_id.upper())}")

    def _run(self, request: ChatRequest, run_id: str, needed: Role) -> Run | None:
        """The run, if there is one and the user's role extends to it."""
        parts, who = self.parts, request.user.caller
        with parts.inbox.database.read() as inbox, parts.database.read() as connection:
            run = listing.get(connection, inbox, run_id)
        if run and not all(who.may_on(needed, subject) for subject in subjects_of(run)):
            raise _RefusedError(f"Your role {needed} does not extend to this run.")
        return run


def _require_everywhere(request: ChatRequest, needed: Role) -> None:
    if not request.user.caller.may_everywhere(needed):
        raise _RefusedError(f"This requires the role {needed} for all services.")


def _comment(text: str) -> str:
    comment = "".join(char for char in text.strip() if char.isprintable())[:_COMMENT_CHARS_MOST]
    if not comment:
        raise _RefusedError("A comment is required: say why.")
    return comment
