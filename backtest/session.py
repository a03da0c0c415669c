"""A backtest from end to end: what fired, what was known, what would have been done."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.exc import SQLAlchemyError

from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS
from backtest.decisions import Decided, Result
from backtest.incidents import Incident, Period, read_incidents
from backtest.past_aws import PastAws
from backtest.past_fleet import Known, PastFleet, read_known
from backtest.past_prometheus import Answers, PastPrometheus
from backtest.people import deployed_before, people_on, read_announced, read_changes
from backtest.replay import Replay
from backtest.rule_replay import Rule, replay_rules
from receiver.db.database import Database
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.connect import connect
from receiver.evidence.targets import mapping
from receiver.monitoring import servers
from receiver.playbooks.loader import Playbooks
from receiver.runtime.redaction import Redaction
from receiver.settings import Settings

# For the reads of whole periods; a decision has the service's own time.
_PATIENT_S, _HOUR_S = 60.0, 3600.0
Progress = Callable[[str, int, int], None]


def live_clients(settings: Settings) -> Mapping[str, httpx.Client]:
    """The clients of the settings' Prometheus, by address. Raises InvalidServersError."""
    found = servers.load(settings.prometheus_file, settings.prometheus_url)
    return {str(server.url).rstrip("/"): server.client() for server in found}


@dataclass(kw_only=True)
class Session:
    """A backtest of a period; `rules` are played in place of what fired.

    `live` are clients by the address of their Prometheus; None: only what `answers` has is told.
    With `aws`, CloudTrail and today's groups are read, with the service's `records` the changes
    that were announced to it. `progress` gets what is done, how much of
    it, and out of how much.
    """

    settings: Settings
    playbooks: Playbooks
    period: Period
    answers: Answers
    live: Mapping[str, httpx.Client] | None = None
    rules: Sequence[Rule] = ()
    aws: Aws | None = None
    records: Database | None = None
    per_s: float = 20.0
    progress: Progress = lambda _, __, ___: None
    changes: Sequence[Mapping[str, Any]] = ()
    known: Known = field(default_factory=Known)
    trail: bool = False

    def run(self, incidents: Sequence[Incident] | None = None) -> Result:
        """Play these incidents; without any, those of the period. Closes the clients at its end.

        Raises PrometheusError, InvalidServersError, InvalidTargetsError or LaterAskedError.
        """
        replay: Replay | None = None

        def clock() -> float:
            return self.period.until if replay is None else replay.now

        past = PastPrometheus(
            clock=clock,
            answers=self.answers,
            live=self.live,
            per_s=self.per_s,
        )
        with ExitStack() as stack:
            client = stack.enter_context(httpx.Client(transport=past))
            for live in (self.live or {}).values():
                stack.enter_context(live)
            stack.callback(self.answers.close)
            if incidents is None:
                patient = connect(self.settings, client=client, clock=clock, timeout_s=_PATIENT_S)
                incidents = [_without_secrets(one) for one in self._read(patient)]
                self._read_aws(incidents)
                self._read_announced()
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            replay = Replay(
                settings=self.settings,
                playbooks=without_hold_outs(self.playbooks),
                incidents=incidents,
                prometheus=past,
                fleet=PastFleet(
                    prometheus=connect(self.settings, client=client, clock=clock),
                    mapping=mapping.load(self.settings.targets),
                    known=self.known,
                ),
                aws=PastAws(clock=clock, changes=self.changes),
                folder=Path(folder),
                until=self.period.until,
                progress=lambda done: self.progress("alerts played", done, len(incidents)),
            )
            decided = replay.play()
        return self._result(incidents, decided, past)

    def _read(self, prometheus: Prometheus) -> Sequence[Incident]:
        period = self.period

        def tell(at: float) -> None:
            hours = [round((end - period.since) / _HOUR_S) for end in (at, period.until)]
            self.progress("hours of alerts read", *hours)

        if self.rules:
            return replay_rules(prometheus, self.rules, period, tell)
        return read_incidents(prometheus, period, tell)

    def _read_announced(self) -> None:
        with suppress(SQLAlchemyError):
            if self.records is not None:
                announced = read_announced(self.records, self.period.since, self.period.until)
                self.changes = [*self.changes, *announced]

    def _read_aws(self, incidents: Sequence[Incident]) -> None:
        """CloudTrail's changes and today's limits of groups; neither where AWS does not answer."""
        if self.aws is None:
            return
        try:
            self.known = read_known(self.aws)
            self.changes = read_changes(self.aws, incidents)
        except AWS_ERRORS:
            return
        self.trail = True

    def _result(
        self, incidents: Sequence[Incident], decided: Sequence[Decided], past: PastPrometheus
    ) -> Result:
        people: dict[str, Sequence[str]] = {}
        deploys: dict[str, float] = {}
        for one in incidents:
            own = [decision for decision in decided if decision.incident == one.id]
            names = {decision.target for decision in own} | {one.labels.get("asg", "")}
            people[one.id] = people_on(
                self.changes, names, one.starts_at, one.ended_at or one.starts_at
            )
            since_s = deployed_before(self.changes, names, one.starts_at)
            if since_s is not None:
                deploys[one.id] = since_s
        return Result(
            since=self.period.since,
            until=self.period.until,
            incidents=incidents,
            decisions=decided,
            people=people,
            deploys=deploys,
            cost={"queries": past.queries, "seconds": past.seconds, "missing": past.missing},
            trail=self.trail,
        )


def _without_secrets(incident: Incident) -> Incident:
    redact = Redaction()
    labels = {name: redact(text) for name, text in incident.labels.items()}
    return replace(incident, labels=labels)


def without_hold_outs(playbooks: Playbooks) -> Playbooks:
    """What they would have done at once: an experiment is no part of a decision."""
    return Playbooks(
        items=[playbook.model_copy(update={"holdout": None}) for playbook in playbooks.items]
    )
