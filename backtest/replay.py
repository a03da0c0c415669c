"""Plays past alerts to the service itself, in virtual time.

The service is built as for `serve`: its inbox, dispatcher, guards, records, ladder and executor.
Only its edges differ: the clock, Prometheus and Alertmanager as they were, an AWS that is told from
records, and what follows a step, which is assumed: AWS does each step at once, and no step changes
the metrics. A step whose fault ends in the step's time has helped; else the next one is decided.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path

import httpx

from actions.base import StepResult
from actions.catalog.registry import find_action
from actions.execution import ledger
from actions.messaging import NullMessenger
from backtest.decisions import ACT, Decided, read_decision
from backtest.incidents import Incident
from backtest.past_aws import PastAws
from backtest.past_fleet import Fleet, PastFleet
from backtest.past_prometheus import PastPrometheus
from backtest.virtual_time import AtOnce, HeldQueue
from receiver.edges import Edges
from receiver.playbooks.loader import Playbooks
from receiver.runs import intake, store
from receiver.runs.model import Run, State
from receiver.runtime.rfc3339 import rfc3339
from receiver.service import Service
from receiver.settings import Mode, Settings
from receiver.system import build
from receiver.webhook.payload import Alert, parse_alert
from receiver.workflow.durable_queue import Phase, PhaseKind
from receiver.workflow.steps import step_of

# Alertmanager repeats an alert after five minutes; of one that goes on for hours, later repeats
# are played ever more seldom: none of them has ever been decided otherwise.
_REPEATED_S, _REPEATED_SHARE = 300.0, 0.25
_HELPED = "the fault ended in the step's time"


@dataclass(kw_only=True)
class Replay:
    """Plays the incidents, oldest first, up to `until` (epoch seconds).

    `folder` takes the records of the played service; `progress` gets the number of incidents whose
    end was played.
    """

    settings: Settings
    playbooks: Playbooks
    incidents: Sequence[Incident]
    prometheus: PastPrometheus
    fleet: PastFleet
    aws: PastAws
    folder: Path
    until: float
    progress: Callable[[int], None] = lambda _: None
    now: float = field(default=0.0, init=False)
    _decided: list[Decided] = field(default_factory=list, init=False)
    _runs: dict[str, Incident] = field(default_factory=dict, init=False)
    _read: set[tuple[str, float]] = field(default_factory=set, init=False)
    _fleet: Fleet | None = field(default=None, init=False)

    def clock(self) -> float:
        return self.now

    @cached_property
    def _queue(self) -> HeldQueue:
        return HeldQueue(clock=self.clock)

    @cached_property
    def service(self) -> Service:
        settings = self.settings.model_copy(
            update={
                "database_url": f"sqlite:///{self.folder}/state.db",
                "audit_archive": str(self.folder / "audit"),
                "audit_key_file": None,
                "mode": Mode.AUTO,
                "arming_required": False,
                "accounts": None,
                "cloudtrail": True,
            }
        )
        clients = self.aws.clients()
        edges = Edges(
            aws=clients,
            aws_at=lambda _: clients,
            messenger=NullMessenger(),
            prometheus=httpx.Client(transport=self.prometheus),
            alertmanager=httpx.Client(transport=httpx.MockTransport(self._alertmanager)),
            queue=self._queue.serve,
            pool=AtOnce,
            clock=self.clock,
            monotonic=self.clock,
        )
        return build(settings, self.playbooks, edges)

    def play(self) -> Sequence[Decided]:
        """The decisions, oldest first. Raises LaterAskedError."""
        if not self.incidents:
            return ()
        self.now = self.incidents[0].starts_at
        service = self.service
        service.database.migrate("state")
        service.inbox.database.migrate("inbox")
        service.inbox.start()
        try:
            self._play()
        finally:
            service.inbox.stop()
            service.prometheus.close()
            service.database.engine.dispose()
            service.inbox.database.engine.dispose()
        return self._decided

    def _play(self) -> None:
        order, ended = count(), 0
        events = [(one.starts_at, next(order), one) for one in self.incidents]
        heapq.heapify(events)
        while events or self._queue.waiting:
            due = min((at for at, _ in self._queue.waiting.values()), default=float("inf"))
            at = min(events[0][0] if events else float("inf"), due)
            if at > self.until:
                return
            self.now = max(self.now, at)
            while events and events[0][0] <= self.now:
                _, _, incident = heapq.heappop(events)
                self._deliver(incident)
                if incident.fires(self.now):
                    heapq.heappush(events, (self._next(incident), next(order), incident))
                else:
                    ended += 1
                    self.progress(ended)
            self._work()
            self.prometheus.require_nothing_later()
        self.progress(len(self.incidents))

    def _next(self, incident: Incident) -> float:
        """When the incident is played again: its end, or before that a repeat."""
        lasted_s = self.now - incident.starts_at
        repeat = self.now + max(_REPEATED_S, lasted_s * _REPEATED_SHARE)
        return repeat if incident.ended_at is None else min(repeat, incident.ended_at)

    def _deliver(self, *incidents: Incident) -> None:
        """What Alertmanager sends of the incidents now."""
        inbox = self.service.inbox
        sent = {alert.key: one for one in incidents if (alert := self._alert(one))}
        alerts = [alert for one in incidents if (alert := self._alert(one))]
        inbox.submit(alerts, self.now).result()
        queued = inbox.queued()
        with self.service.database.write() as connection:
            intake.insert_from_inbox(connection, queued, self.now)
        inbox.remove([alert.id for alert in queued])
        self._runs |= {one.id: sent[one.alert.key] for one in queued if one.alert.key in sent}

    def _alert(self, incident: Incident) -> Alert | None:
        fires = incident.fires(self.now)
        raw = {
            "status": "firing" if fires else "resolved",
            "labels": incident.labels,
            "startsAt": rfc3339(incident.starts_at),
        }
        return parse_alert(raw | ({} if fires else {"endsAt": rfc3339(self.now)}), self.now)

    def _work(self) -> None:
        """Decide on all that waits, and play the phases that are due."""
        while True:
            if self._waits():
                self._show_aws()
            self.service.dispatcher.dispatch()
            self._read_decisions()
            phase = self._queue.due()
            if phase is None:
                return
            self._queue.done(phase)
            if phase.kind is PhaseKind.VERIFY:
                self._follow(phase)
            else:
                self._queue.handle(phase)

    def _waits(self) -> bool:
        """Whether a run waits for a decision."""
        return any(not run.state.ended and run.phase is None for run in self._current())

    def _show_aws(self) -> None:
        alerts = [one.labels for one in self.incidents if one.fires(self.now)]
        if self._fleet is None or self._fleet.at != self.now:
            self._fleet = self.fleet.read(self.now, alerts)
            self.aws.become(self._fleet.world)

    def _current(self) -> Sequence[Run]:
        with self.service.database.read() as connection:
            found = store.by_ids(connection, list(self._runs)).values()
        return [*found]

    def _read_decisions(self) -> None:
        """Keep the decisions that were just made; runs that ended are read for the last time."""
        for run in self._current():
            key = (run.id, run.decided_at or 0.0)
            incident = self._runs[run.id]
            if run.decided_at is not None and key not in self._read:
                self._read.add(key)
                decided = read_decision(incident.id, run)
                self._decided.append(self._with_harm(decided, run))
            if run.state.ended:
                del self._runs[run.id]

    def _with_harm(self, decided: Decided, run: Run) -> Decided:
        """With what the step would have harmed, by facts that no guard was told."""
        action = find_action(decided.action) if decided.decision == ACT else None
        if action is None or not (action.removes_capacity or action.removes_members):
            return decided
        harm, fleet = list[str](), self._fleet
        if fleet is not None and run.group_name:
            others, up = fleet.others_in_service(run.group_name, decided.target)
            if others and 2 * up < others:
                harm.append(f"{others - up} of {others} other members were not scraped")
        return replace(decided, disruptive=True, harm=harm)

    def _follow(self, phase: Phase) -> None:
        """What follows the run's step by the assumption: its end, the next step, or a wait."""
        with self.service.database.read() as connection:
            run = store.get(connection, phase.run_id)
        if run is None or run.phase != phase.id:
            return
        incident, until = self._runs[run.id], run.verify_until or self.now
        lifecycle = self.service.lifecycle
        step = lifecycle.recorded_steps(run)[step_of(run).key]
        if not incident.fires(self.now):
            self._record(step, StepResult.HELPED)
            lifecycle.end(run, State.SUCCEEDED, _HELPED)
        elif self.now >= until:
            self._record(step, StepResult.DID_NOT_HELP)
            # A repeat of the alert shows that it goes on.
            self._deliver(incident)
            lifecycle.redecide(run, run.next_rung, run.steps_begun)
        else:
            self._queue.waiting[phase.id] = (min(until, incident.ended_at or until), phase)

    def _record(self, step: ledger.Intent, result: StepResult) -> None:
        with self.service.database.write() as connection:
            ledger.record_result(connection, step, result, self.now)

    def _alertmanager(self, request: httpx.Request) -> httpx.Response:
        """Alertmanager's API, at the time of the clock."""
        if not request.url.path.endswith("/alerts") or request.method != "GET":
            return httpx.Response(404)
        return httpx.Response(200, json=[*self._active()])

    def _active(self) -> Iterator[Mapping[str, object]]:
        for one in self.incidents:
            if one.fires(self.now):
                yield {
                    "labels": one.labels,
                    "annotations": {},
                    "startsAt": rfc3339(one.starts_at),
                    "updatedAt": rfc3339(self.now),
                    "generatorURL": "http://replayed/",
                }
