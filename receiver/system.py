"""All the parts of one receiver, put together once, started and stopped in order."""

import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import httpx
import structlog

from actions.aws import clients as aws
from actions.aws.clients import Aws
from actions.execution.executor import Executor
from actions.messaging import Messenger, NullMessenger
from receiver.audit.cloudtrail_check import CloudTrailCheck
from receiver.audit.config_events import ConfigRecorder
from receiver.audit.head_signer import HeadSigner
from receiver.audit.metrics import HeadMetrics, ReconcileMetrics
from receiver.audit.tail import AuditTail
from receiver.controls.promotion import Rollout
from receiver.db.database import Database, database, inbox_url
from receiver.db.leader_election import make_leadership
from receiver.db.process_lock import ProcessLock
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.pipeline import DecisionPipeline
from receiver.decision.snapshot import SnapshotReader
from receiver.evidence.aws_state import AwsReader
from receiver.evidence.metrics import EvidenceMetrics, ModelMetrics
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prefetch import Prefetcher
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.source import Source
from receiver.gauges import Gauges
from receiver.metrics import new_registry
from receiver.notify import messages
from receiver.notify.metrics import NotifyMetrics
from receiver.notify.notifier import Notifier
from receiver.playbooks.loader import Playbooks
from receiver.runtime.pools import Pool
from receiver.runtime.probes import Probes
from receiver.runtime.rfc3339 import DAY_S
from receiver.settings import Profile, Settings
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.truncated import Truncated
from receiver.workflow.closing import Closing
from receiver.workflow.dispatcher import Assessor
from receiver.workflow.durable_queue import Engine, Phase
from receiver.workflow.interventions import Interventions
from receiver.workflow.manual_runs import ByHand
from receiver.workflow.metrics import RetentionMetrics, RunMetrics, StepMetrics
from receiver.workflow.phases import Phases
from receiver.workflow.preflight import Objections
from receiver.workflow.retention import Retention
from receiver.workflow.rollback import Finish
from receiver.workflow.steps import Stepper

_log = structlog.get_logger()


class TracingError(Exception):
    """Traces are configured, and a package for them is not installed; the text names it."""


class Metrics:
    """The metrics of every package, on one registry."""

    def __init__(self, playbooks: Iterable[str]) -> None:
        names = tuple(playbooks)
        self.registry = new_registry()
        self.webhook = WebhookMetrics(self.registry)
        self.evidence = EvidenceMetrics(self.registry)
        self.model = ModelMetrics(self.registry)
        self.decision = DecisionMetrics(self.registry)
        self.run = RunMetrics(self.registry, names)
        self.step = StepMetrics(self.registry)
        self.retention = RetentionMetrics(self.registry)
        self.notify = NotifyMetrics(self.registry)
        self.head = HeadMetrics(self.registry)
        self.reconcile = ReconcileMetrics(self.registry)
        self.gauges = Gauges(self.registry, names)


class System:
    """Built, then prepared, then started; stopped in the opposite order."""

    def __init__(  # noqa: PLR0913 one argument a part that is not made here
        self,
        settings: Settings,
        playbooks: Playbooks,
        *,
        clients: Aws | None = None,
        messenger: Messenger | None = None,
        announce: Callable[[Sequence[str], str, str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.playbooks = playbooks
        self.clock = clock
        self.database: Database = database(settings.database_url)
        self.metrics = Metrics(playbook.name for playbook in playbooks.items)
        self.registry = self.metrics.registry
        self.prometheus = Prometheus(
            str(settings.prometheus_url),
            timeout_s=settings.evidence_deadline_s,
            failed=lambda: self.metrics.evidence.count_failed_read(Source.PROMETHEUS),
        )
        self._aws = clients or aws.connect(pool=2 * settings.workers)
        self.model_server = ModelServer(
            settings.model, settings.model_manifest, lambda: self._aws, self.metrics.model
        )
        self._workers = Pool(settings.workers, "assess")
        # Apart from the workers, which wait for what runs here.
        self._queries = Pool(4 * settings.workers, "query")
        self._aws_reader = AwsReader(
            aws=self._aws,
            pool=self._queries,
            trail=settings.cloudtrail,
            on_unreadable=self.metrics.evidence.count_failed_read,
        )
        self._probes = Probes()
        self._lock = ProcessLock(settings.database_url)
        self.inbox = Inbox(
            database(inbox_url(settings.database_url), use="inbox"),
            settings.episode_gap_s,
            self._arrived,
        )
        self.leadership = make_leadership(self.database)
        self.truncated = Truncated(
            str(settings.alertmanager_url),
            httpx.Client(trust_env=False),
            self.inbox.submit,
            self.metrics.webhook,
            clock,
        )
        closing = Closing(
            database=self.database, inbox=self.inbox, metrics=self.metrics.run, clock=clock
        )
        self.engine = Engine(settings.database_url, settings.workers, self._phase)
        objections = Objections(arming_required=settings.arming_required, clock=clock)
        stepper = Stepper(
            executor=Executor(
                aws=self._aws,
                recent_scopes=self._aws_reader.recent_scopes,
                messenger=messenger or NullMessenger(),
                begin=self.leadership.write,
                clock=clock,
                forbids=objections.to,
                check=self.leadership.check,
            ),
            metrics=self.metrics.step,
            clock=clock,
        )
        self.closing = closing
        self.finish = Finish(
            database=self.database,
            closing=closing,
            engine=self.engine,
            stepper=stepper,
            clock=clock,
        )
        self._phases = Phases(
            database=self.database,
            stepper=stepper,
            prometheus=self.prometheus,
            closing=closing,
            finish=self.finish,
            interval_s=settings.verify_interval_s,
            clock=clock,
            wake=self._arrived,
            engine=self.engine,
        )
        self.interventions = Interventions(
            database=self.database, finish=self.finish, clock=clock, wake=self._arrived
        )
        # Without `failed`: no decision needed a prefetch that got no answer, so it is not counted.
        prefetching = Prometheus(
            str(settings.prometheus_url), timeout_s=settings.evidence_deadline_s
        )
        self._prefetcher = Prefetcher(
            reader=MetricsReader(prometheus=prefetching, pool=self._queries),
            playbooks=playbooks,
            clock=clock,
            prefetch_aws=self._aws_reader.prefetch,
        )
        self._pipeline = DecisionPipeline(
            playbooks=playbooks,
            snapshots=SnapshotReader.from_settings(
                settings,
                database=self.database,
                aws=self._aws_reader,
                resolved=self.inbox.resolved,
            ),
            prometheus=self.prometheus,
            pool=self._queries,
            gather=MetricsReader(
                prometheus=self.prometheus,
                pool=self._queries,
                deadline_s=settings.evidence_deadline_s,
                prefetched=self._prefetcher.get,
            ).gather,
            judge=self.model_server.judge,
        )
        self.assessor = Assessor(
            database=self.database,
            inbox=self.inbox,
            pipeline=self._pipeline,
            engine=self.engine,
            closing=closing,
            finish=self.finish,
            metrics=self.metrics.decision,
            pool=self._workers,
            clock=clock,
            carry_out=self._phase,
        )

        self.by_hand = ByHand(
            database=self.database,
            playbooks=playbooks,
            decide_now=self.assessor.decide_now,
            wake=self._arrived,
            clock=clock,
        )

        self.rollout = Rollout(
            settings=settings, playbooks=playbooks, database=self.database, clock=clock
        )
        self._configuration = ConfigRecorder(
            settings=settings, playbooks=playbooks, database=self.database, clock=clock
        )
        self.head_signer = HeadSigner(
            settings=settings,
            database=self.database,
            clients=lambda: self._aws,
            metrics=self.metrics.head,
            clock=clock,
        )
        self._cloudtrail_check = CloudTrailCheck(
            interval_s=settings.reconcile_interval_s,
            database=self.database,
            clients=lambda: self._aws,
            metrics=self.metrics.reconcile,
            clock=clock,
        )
        self._retention = Retention(
            keep_s=settings.retention_days * DAY_S,
            database=self.database,
            inbox=self.inbox,
            engine=self.engine,
            metrics=self.metrics.retention,
            clock=clock,
        )
        tails = (self._notification_tail(announce) if announce else None, self._tracing_tail())
        self._acting = False
        self._tails = [tail for tail in tails if tail is not None]

    def _notification_tail(self, announce: Callable[[Sequence[str], str, str], None]) -> AuditTail:
        url = self.settings.public_url
        notifier = Notifier(
            database=self.database,
            announce=announce,
            metrics=self.metrics.notify,
            public_url=None if url is None else str(url),
            per_minute=self.settings.notify_per_minute,
            clock=self.clock,
        )
        return AuditTail(
            self.database, "notifications", messages.EVENTS, notifier.on_record, notifier.on_idle
        )

    def _tracing_tail(self) -> AuditTail | None:
        if self.settings.otlp_url is None:
            return None
        try:
            # Imported by name: its packages are installed only with the extra `otel`.
            tracing = importlib.import_module("receiver.notify.tracing")
        except ImportError as error:
            hint = f"{error.name} is missing: pip install 'smartcloudops[otel]'"
            raise TracingError(f"SMARTCLOUDOPS_OTLP_URL: {hint}") from None
        exporter = tracing.TraceExporter(self.database, tracing.otlp(str(self.settings.otlp_url)))
        return AuditTail(
            self.database, "traces", tracing.EVENTS, exporter.on_record, exporter.on_idle
        )

    def prepare(self) -> None:
        """Take the database and bring it up to date.

        Raises AlreadyRunningError, SchemaError, or SQLAlchemy's error where it cannot be used.
        """
        self._lock.acquire()
        for opened, history in ((self.database, "state"), (self.inbox.database, "inbox")):
            opened.migrate(history)
            opened.check_writable()

    def start(self) -> None:
        """Take alerts, and where this is the one that acts, go on with what was left."""
        self._configuration.start()
        self.inbox.start()
        self.engine.connect()
        # Read before the first alert needs it.
        _ = self.model_server.loaded
        self.leadership.start(self._lead, self._stand_down)
        settings = self.settings
        if settings.profile is Profile.PRODUCTION and settings.audit_key_file is None:
            _log.warning("audit_unsigned", set="SMARTCLOUDOPS_AUDIT_KEY_FILE")
        _log.info("started", profile=str(settings.profile), mode=str(settings.mode))

    def _lead(self) -> None:
        self.engine.start()
        self.assessor.start()
        self._prefetcher.start()
        for tail in self._tails:
            tail.start()
        self.head_signer.start()
        self._cloudtrail_check.start()
        self._retention.start()
        self._acting = True

    def _stand_down(self) -> None:
        self._acting = False
        for tail in self._tails:
            tail.stop()
        self._retention.stop()
        self._cloudtrail_check.stop()
        self.head_signer.stop()
        self._prefetcher.stop()
        self.assessor.stop()
        self.engine.stop()

    def stop(self) -> None:
        """Take no more, finish what runs; whatever is left is on disk and goes on next time."""
        acted = self._acting
        self.leadership.stop()
        self._configuration.stop()
        if acted:
            self.head_signer.run_once()
        self.engine.disconnect()
        self._workers.shutdown()
        self._probes.close()
        self._queries.shutdown(cancel_futures=True)
        self.model_server.close()
        self.truncated.close()
        self.inbox.stop()
        self.prometheus.close()
        # The lock goes with the process: a call that hangs may still be under way.
        _log.info("stopped")

    def checks(self) -> dict[str, str]:
        """What readiness rests on, by name: "ok" or what is wrong."""
        return {
            "database": self._probes.probe(self.database),
            "inbox": self._probes.probe(self.inbox.database)
            if self.inbox.alive
            else "the inbox writer is not running",
            "assessor": "ok"
            if self.assessor.alive or not self._acting
            else "the assessor is not running",
        }

    def refresh_gauges(self) -> None:
        """Bring the gauges up to date; unknown counts as paused."""
        self.metrics.gauges.leading.set(self._acting and self.leadership.leading)
        self.model_server.refresh_gauges()
        now = self.clock()
        refresh = partial(self.metrics.gauges.refresh, self.database, self.inbox, now)
        if not self._probes.within(refresh):
            self.metrics.gauges.paused.set(1)

    def _phase(self, phase: Phase) -> None:
        self._phases.handle(phase)

    def _arrived(self) -> None:
        self.assessor.wake()
