"""Gauges that are computed from the records right before each scrape."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from actions.execution import circuit_breakers, debts, kill_switch, rules
from actions.execution.debts import DebtCount, DebtState
from actions.place import HOME, Place
from actions.tables import claims
from receiver.controls import arming
from receiver.db.database import Database
from receiver.metrics import NO_PLAYBOOK, start_at_zero
from receiver.runs import store
from receiver.runs.model import IN_FLIGHT, State
from receiver.settings import Mode
from receiver.webhook.inbox import Inbox


class Gauges:
    """Gauges of open, armed, paused and waiting work."""

    def __init__(self, registry: CollectorRegistry, playbooks: Iterable[str]) -> None:
        self._playbooks: tuple[str, ...] = ()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"smartcloudops_{name}", text, labels, registry=registry)

        self._runs_in_flight = gauge("runs_in_flight", "Runs that have not ended")
        self._awaiting_approval = gauge("awaiting_approval", "Runs that wait for an approval")
        self.paused = gauge(
            "paused",
            "1 while the service is paused or cannot read the kill switch, else 0; "
            "without account and region, of everything",
            "account",
            "region",
        )
        self.paused.labels("", "")
        # The account's name and the region of each place, where there are several.
        self.places: Mapping[Place, tuple[str, str]] = {}
        self.leading = gauge("leading", "1 on the leader, else 0")
        self._cooldowns_active = gauge("cooldowns_active", "Targets under a claim or a cooldown")
        self._runs_open = gauge(
            "runs_open", "Runs that have not ended, by playbook and state", "playbook", "state"
        )
        self._oldest_run = gauge(
            "oldest_run_seconds",
            "Longest time since the last change of a run, by state",
            "state",
        )
        start_at_zero(self._oldest_run, IN_FLIGHT)
        self._breaker_open = gauge(
            "breaker_open", "1 while a playbook's circuit breaker is open, else 0", "playbook"
        )
        self._playbook_armed = gauge(
            "playbook_armed", "Armings of a playbook, by mode", "playbook", "mode"
        )
        self._debts = gauge(
            "debts", "What runs have lent and not given back yet, by state", "state"
        )
        start_at_zero(self._debts, DebtState)
        self._oldest_debt = gauge(
            "oldest_debt_seconds", "Longest time since the end of a run that still owes something"
        )
        self._inbox_backlog = gauge("inbox_backlog", "Alerts in the inbox that are not runs yet")
        self.add_playbooks([*playbooks, NO_PLAYBOOK])

    def add_playbooks(self, names: Iterable[str]) -> None:
        """Start the gauges of these playbooks at zero."""
        self._playbooks = tuple(dict.fromkeys((*self._playbooks, *names)))
        open_states = [state for state in State if not state.ended]
        start_at_zero(self._runs_open, self._playbooks, open_states)
        start_at_zero(self._breaker_open, self._playbooks)
        start_at_zero(self._playbook_armed, self._playbooks, Mode)

    def refresh(self, database: Database, inbox: Inbox, now: float) -> None:
        """Read the records again. An unreadable gauge keeps its value, but `paused` becomes 1."""
        paused = True
        with suppress(SQLAlchemyError), database.read() as connection:
            self._cooldowns_active.set(_count_active_claims(connection, now))
            self._refresh_breakers(connection, now)
            self._refresh_armings(connection)
            self._refresh_runs(store.count_in_flight(connection), now)
            self._refresh_debts(debts.count(connection, now))
            paused = kill_switch.read_paused(connection, HOME) is not False
            pauses = kill_switch.list_pauses(connection)
            for place, names in self.places.items():
                here = paused or any(pause.stops(place) for pause in pauses)
                self.paused.labels(*names).set(int(here))
        self.paused.labels("", "").set(int(paused))
        with suppress(SQLAlchemyError):
            self._inbox_backlog.set(inbox.count_queued())

    def _refresh_breakers(self, connection: Connection, now: float) -> None:
        opened = {
            breaker.playbook
            for breaker in circuit_breakers.read_all(connection)
            if rules.require_breaker_closed(breaker, None, now) is not None
        }
        for playbook in self._playbooks:
            self._breaker_open.labels(playbook).set(int(playbook in opened))

    def _refresh_armings(self, connection: Connection) -> None:
        armings = arming.list_all(connection)
        for playbook in self._playbooks:
            counts = Counter(record.mode for record in armings.get(playbook, ()))
            for mode in Mode:
                self._playbook_armed.labels(playbook, mode).set(counts[mode])

    def _refresh_debts(self, counts: DebtCount) -> None:
        for state, number in counts.by_state.items():
            self._debts.labels(state).set(number)
        self._oldest_debt.set(counts.oldest_s)

    def _refresh_runs(self, counts: Sequence[store.InFlightCount], now: float) -> None:
        """Set the runs' gauges; a playbook that is no longer loaded counts as none."""
        open_runs: Counter[tuple[str, State]] = Counter()
        since = dict.fromkeys(IN_FLIGHT, now)
        for count in counts:
            playbook = count.playbook if count.playbook in self._playbooks else NO_PLAYBOOK
            open_runs[playbook, count.state] += count.count
            since[count.state] = min(since[count.state], count.since)
        for state in IN_FLIGHT:
            self._oldest_run.labels(state).set(now - since[state])
            for playbook in self._playbooks:
                self._runs_open.labels(playbook, state).set(open_runs[playbook, state])
        self._runs_in_flight.set(open_runs.total())
        self._awaiting_approval.set(
            sum(n for (_, state), n in open_runs.items() if state is State.AWAITING_APPROVAL)
        )


def _count_active_claims(connection: Connection, now: float) -> int:
    active = claims.c.held | (claims.c.cooldown_until > now)
    return connection.execute(select(func.count()).select_from(claims).where(active)).scalar_one()
