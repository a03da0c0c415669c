"""The service's life cycle: prepare the database, take alerts, lead, and stop."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry

from actions.place import HOME, Place
from receiver.audit.config_events import ConfigRecorder
from receiver.audit.continuity import Continuity
from receiver.audit.head_signer import HeadSigner
from receiver.audit.metrics import HeadMetrics, ReconcileMetrics
from receiver.controls import adoption
from receiver.controls.promotion import Promoter
from receiver.db.database import Database
from receiver.db.leader_election import Leadership
from receiver.db.process_lock import ProcessLock
from receiver.decision.metrics import DecisionMetrics
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.accounts.watch import AccountMetrics, AccountWatch
from receiver.evidence.metrics import EvidenceMetrics, ModelMetrics
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prometheus.client import Prometheus
from receiver.gauges import Gauges
from receiver.http.metrics import HttpMetrics
from receiver.incidents.metrics import IncidentMetrics
from receiver.metrics import new_registry
from receiver.notify.metrics import NotifyMetrics
from receiver.playbooks.loader import Playbooks
from receiver.runs.manual_runs import ManualRuns
from receiver.runs.metrics import RetentionMetrics
from receiver.runtime.probes import Probes
from receiver.settings import Profile, Settings
from receiver.watch.scores import Scores
from receiver.webhook.factory import AlertIntake
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.sns.subscriptions import Subscriptions
from receiver.workflow.commands import RunCommands
from receiver.workflow.dispatcher import Dispatcher
from receiver.workflow.durable_queue import DurableQueue
from receiver.workflow.lifecycle import Lifecycle
from receiver.workflow.metrics import RunMetrics, StepMetrics

_log = structlog.get_logger()
# AWS's own clients have tried again by then.
_SILENT_S = 60.0


class Metrics:
    """The metrics of every package, on one registry."""

    def __init__(self, playbooks: Iterable[str]) -> None:
        names = tuple(playbooks)
        self.registry: CollectorRegistry = new_registry()
        self.http = HttpMetrics(self.registry)
        self.webhook = WebhookMetrics(self.registry)
        self.evidence = EvidenceMetrics(self.registry)
        self.model = ModelMetrics(self.registry)
        self.decision = DecisionMetrics(self.registry)
        self.run = RunMetrics(self.registry, names)
        self.step = StepMetrics(self.registry)
        self.retention = RetentionMetrics(self.registry)
        self.notify = NotifyMetrics(self.registry)
        self.incidents = IncidentMetrics(self.registry)
        self.head = HeadMetrics(self.registry)
        self.reconcile = ReconcileMetrics(self.registry)
        self.account = AccountMetrics(self.registry)
        self.gauges = Gauges(self.registry, names)

    def add_playbooks(self, playbooks: Playbooks) -> None:
        """Start the metrics of playbooks that were loaded since at zero."""
        names = [playbook.name for playbook in playbooks.items]
        self.run.add_playbooks(names)
        self.gauges.add_playbooks(names)


class LeaderTask(Protocol):
    """Work that only the leader does; `stop` is called even where `start` was not."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(kw_only=True)
class Service:
    """The service; it is built, prepared, started and stopped, in this order.

    `leader_tasks` run while this replica leads, started in this order and stopped in reverse.
    """

    settings: Settings
    playbooks: Playbooks
    database: Database
    intake: AlertIntake
    prometheus: Prometheus
    model_server: ModelServer
    aws_readers: AwsReaders
    own_place: Place
    queue: DurableQueue
    dispatcher: Dispatcher
    lifecycle: Lifecycle
    commands: RunCommands
    manual_runs: ManualRuns
    promoter: Promoter
    config_recorder: ConfigRecorder
    head_signer: HeadSigner
    leadership: Leadership
    accounts: AccountWatch
    leader_tasks: Sequence[LeaderTask]
    metrics: Metrics
    workers: Executor
    queries: Executor
    watch_scores: Scores
    clock: Callable[[], float] = time.time
    continuity: Continuity = field(init=False)
    _probes: Probes = field(default_factory=Probes, init=False)
    _lock: ProcessLock = field(init=False)
    _acting: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._lock = ProcessLock(self.settings.database_url)
        self.continuity = Continuity(
            settings=self.settings,
            database=self.database,
            clients=self.head_signer.clients,
            clock=self.clock,
        )

    @property
    def registry(self) -> CollectorRegistry:
        return self.metrics.registry

    @property
    def places(self) -> Sequence[Place]:
        return self.aws_readers.places

    @property
    def unusable(self) -> Mapping[Place, str]:
        """The accounts and regions that do not answer, with the error of each."""
        return self.accounts.problems

    @property
    def inbox(self) -> Inbox:
        return self.intake.inbox

    @property
    def subscriptions(self) -> Subscriptions:
        return self.intake.subscriptions

    def prepare(self) -> None:
        """Lock the database for this process and migrate it.

        Raises AlreadyRunningError, SchemaError, PlacesLostError, or SQLAlchemy's error.
        """
        self._lock.acquire()
        for opened, history in ((self.database, "state"), (self.inbox.database, "inbox")):
            opened.migrate(history)
            opened.check_writable()
        adoption.require_places(self.database, self.places, self.clock())

    def start(self) -> None:
        """Take alerts, and act on them while this replica leads."""
        self.continuity.note_last_record()
        self.config_recorder.start()
        self.inbox.start()
        self.accounts.start()
        self.queue.connect()
        # The model is loaded before the first alert needs it.
        _ = self.model_server.loaded
        self.continuity.start(lambda: self.leadership.start(self._lead, self._stand_down))
        settings = self.settings
        if settings.profile is Profile.PRODUCTION and settings.audit_key_file is None:
            _log.warning("audit_unsigned", missing_setting="SMARTCLOUDOPS_AUDIT_KEY_FILE")
        _log.info("service_started", profile=str(settings.profile), mode=str(settings.mode))

    def _lead(self) -> None:
        adoption.adopt(self.database, self.own_place, self.places, self.clock())
        for task in self.leader_tasks:
            task.start()
        self._acting = True

    def _stand_down(self) -> None:
        self._acting = False
        for task in reversed(self.leader_tasks):
            task.stop()

    def stop(self) -> None:
        """Take no more alerts and finish running work; queued work stays on disk."""
        acted = self._acting
        self.continuity.stop()
        self.leadership.stop()
        self.config_recorder.stop()
        self.accounts.stop()
        if acted:
            self.head_signer.run_once()
        self.queue.disconnect()
        self.workers.shutdown()
        self._probes.close()
        self.queries.shutdown(cancel_futures=True)
        self.model_server.close()
        self.intake.truncated.close()
        self.inbox.stop()
        self.prometheus.close()
        # The end of the process releases its lock: a hanging call may still be running.
        _log.info("service_stopped")

    def checks(self) -> dict[str, str]:
        """The readiness checks by name, each "ok" or the failure.

        Alerts are taken also while `aws` does not answer.
        """
        inbox, dispatcher = "the inbox writer is not running", "the dispatcher is not running"
        if self.inbox.alive:
            inbox = self._probes.probe(self.inbox.database.ping)
        if self.dispatcher.alive or not self._acting:
            dispatcher = "ok"
        return {
            "database": self._probes.probe(self.database.ping),
            "records": self._probes.probe(self.continuity.why_distrusted),
            "inbox": inbox,
            "dispatcher": dispatcher,
            "aws": self._aws_answer(),
        }

    def _aws_answer(self) -> str:
        if self.aws_readers.accounts.accounts:
            return self.accounts.describe() or "ok"
        reader = self.aws_readers.at(HOME)
        silence = reader.silence
        silent_s = reader.monotonic() - (silence.since or math.inf)
        if silent_s < _SILENT_S:
            return "ok"
        return f"has answered no read for {silent_s:.0f} s: {silence.error}"

    def refresh_gauges(self) -> None:
        """Bring the gauges up to date. `paused` becomes 1 where the records are unreadable."""
        gauges = self.metrics.gauges
        gauges.leading.set(self._acting and self.leadership.leading)
        self.model_server.refresh_gauges()
        if not self.aws_readers.accounts.accounts:
            usable = self._aws_answer() == "ok"
            self.metrics.account.usable.labels("own", "").set(int(usable))
        if not self._probes.within(
            partial(gauges.refresh, self.database, self.inbox, self.clock())
        ):
            gauges.paused.labels("", "").set(1)
