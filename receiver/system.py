"""Builds the service from its settings: the only module that imports every part."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

from actions.aws import clients
from actions.aws.client_set import Aws
from actions.aws.groups import read_groups
from actions.execution.executor import Executor as StepExecutor
from actions.messaging import NullMessenger
from actions.place import HOME, Place
from receiver.audit.cloudtrail_check import CloudTrailCheck
from receiver.audit.config_events import ConfigRecorder
from receiver.audit.head_signer import HeadSigner, make_captures
from receiver.controls.bounds import bounds_of
from receiver.controls.demotion import Demotion
from receiver.controls.promotion import Promoter
from receiver.controls.silences import Silences
from receiver.db.database import Database, database
from receiver.db.leader_election import Leadership, make_leadership
from receiver.decision.factory import PipelineFactory
from receiver.decision.version_watch import VersionRecords, VersionWatch
from receiver.edges import Edges
from receiver.evidence.accounts.file import Accounts
from receiver.evidence.accounts.file import load as load_accounts
from receiver.evidence.accounts.watch import AccountWatch
from receiver.evidence.factory import EvidenceReaders
from receiver.incidents.tail import IncidentTask
from receiver.notify.tails import NotifyTasks
from receiver.playbooks.loader import Playbooks
from receiver.runs.manual_runs import ManualRuns
from receiver.runs.retention import Retention
from receiver.runtime.rfc3339 import DAY_S
from receiver.service import LeaderTask, Metrics, Service
from receiver.settings import Settings
from receiver.track_record.review import Review
from receiver.watch.factory import make_watcher
from receiver.watch.watcher import Watcher
from receiver.webhook.factory import AlertIntake
from receiver.workflow.dispatcher import Dispatcher, lanes_of_account
from receiver.workflow.durable_queue import DurableQueue, Phase
from receiver.workflow.factory import Workflow
from receiver.workflow.preflight import Preflight

_REAL = Edges()


def build(
    settings: Settings,
    playbooks: Playbooks,
    edges: Edges = _REAL,
) -> Service:
    """Build the service, without preparing or starting it.

    Raises DatabaseUrlError, TracingError, InvalidAccountsError, SettingsError, or botocore's error
    where no clients can be made.
    """
    return _Builder(
        settings=settings,
        playbooks=playbooks,
        edges=edges,
        aws=(aws := edges.aws or clients.connect(pool=2 * settings.workers)),
        accounts=(accounts := load_accounts(settings.accounts)),
        aws_at=edges.aws_at
        or clients.PlaceClients(aws, accounts.accesses, pool=2 * settings.workers).at,
        database=database(settings.database_url),
        metrics=Metrics(playbook.name for playbook in playbooks.items),
        workers=edges.pool(settings.workers, "assess"),
        # Separate from the workers' pool, because workers wait for queries.
        queries=edges.pool(4 * settings.workers, "query"),
    ).service()


@dataclass(kw_only=True)
class _Builder:
    """Each part is a property, created once; callbacks break the cycles between parts."""

    settings: Settings
    playbooks: Playbooks
    edges: Edges
    aws: Aws
    accounts: Accounts
    aws_at: Callable[[Place], Aws]
    database: Database
    metrics: Metrics
    workers: Executor
    queries: Executor

    def service(self) -> Service:
        self.metrics.gauges.places = self.accounts.names
        return Service(
            settings=self.settings,
            playbooks=self.playbooks,
            database=self.database,
            intake=self.intake,
            prometheus=self.evidence.prometheus,
            model_server=self.evidence.model_server,
            aws_readers=self.evidence.aws_readers,
            own_place=self._own_place,
            queue=self.queue,
            dispatcher=self.dispatcher,
            lifecycle=self.workflow.lifecycle,
            commands=self.workflow.commands,
            manual_runs=ManualRuns(
                database=self.database,
                playbooks=self.playbooks,
                decide_sync=self.dispatcher.decide_sync,
                wake=self._wake,
                clock=self.edges.clock,
                places=self.accounts.places,
            ),
            promoter=Promoter(
                settings=self.settings,
                playbooks=self.playbooks,
                database=self.database,
                clock=self.edges.clock,
            ),
            config_recorder=ConfigRecorder(
                settings=self.settings,
                watched=self.evidence.watched(self.metrics.add_playbooks),
                database=self.database,
                clock=self.edges.clock,
            ),
            head_signer=self.head_signer,
            leadership=self.leadership,
            accounts=AccountWatch(
                readers=self.evidence.aws_readers,
                pool=self.edges.pool(len(self.accounts.places), "accounts"),
                metrics=self.metrics.account,
            ),
            leader_tasks=[*self._leader_tasks()],
            metrics=self.metrics,
            workers=self.workers,
            queries=self.queries,
            clock=self.edges.clock,
            watch_scores=self.watcher.scores,
        )

    @cached_property
    def intake(self) -> AlertIntake:
        return AlertIntake(
            settings=self.settings,
            playbooks=self.playbooks,
            database=self.database,
            aws_at=self.aws_at,
            places=self.accounts.places,
            alertmanager=self.evidence.alertmanager,
            metrics=self.metrics.webhook,
            wake=self._wake,
            certificates=self.edges.certificates,
            clock=self.edges.clock,
        )

    def _wake(self) -> None:
        self.dispatcher.wake()

    @cached_property
    def leadership(self) -> Leadership:
        return make_leadership(self.database)

    @cached_property
    def evidence(self) -> EvidenceReaders:
        return EvidenceReaders(
            settings=self.settings,
            playbooks=self.playbooks,
            aws=self.aws,
            aws_at=self.aws_at,
            accounts=self.accounts,
            pool=self.queries,
            metrics=self.metrics.evidence,
            model_metrics=self.metrics.model,
            client=self.edges.prometheus,
            alertmanager_client=self.edges.alertmanager,
            clock=self.edges.clock,
            monotonic=self.edges.monotonic,
        )

    @cached_property
    def queue(self) -> DurableQueue:
        return self.edges.queue(self.settings.database_url, self.settings.workers, self._handle)

    def _handle(self, phase: Phase) -> None:
        self.workflow.phases.handle(phase)

    @cached_property
    def workflow(self) -> Workflow:
        preflight = Preflight(arming_required=self.settings.arming_required, clock=self.edges.clock)
        return Workflow(
            database=self.database,
            inbox=self.intake.inbox,
            queue=self.queue,
            executor=StepExecutor(
                aws_at=self.aws_at,
                recent_scopes=self.evidence.aws_readers.recent_scopes,
                recent_group=self.evidence.aws_readers.recent_group,
                target_groups=self.evidence.aws_readers.target_groups,
                messenger=self.edges.messenger or self.edges.channels or NullMessenger(),
                begin=self.leadership.write,
                ask=self.database.ask,
                clock=self.edges.clock,
                forbids=preflight.why_denied,
                check=self.leadership.check,
                evidence=make_captures(self.settings, lambda: self.aws, self.edges.clock),
                standalone_percent=self.evidence.aws_readers.percent_at,
            ),
            prometheus=self.evidence.prometheus,
            members=self.evidence.series.members,
            alert_fires=self.evidence.active_alerts.fires,
            run_metrics=self.metrics.run,
            step_metrics=self.metrics.step,
            verify_interval_s=self.settings.verify_interval_s,
            wake=self._wake,
            clock=self.edges.clock,
            pool=self.queries,
            demote=self.demotion.run_once,
            named_people=self.settings.oidc_issuer is not None,
        )

    @cached_property
    def dispatcher(self) -> Dispatcher:
        pipeline = PipelineFactory(
            settings=self.settings,
            playbooks=self.playbooks,
            rules=self.evidence.rules,
            database=self.database,
            aws=self.evidence.aws_readers,
            prometheus=self.evidence.prometheus,
            series=self.evidence.series,
            pool=self.queries,
            gather=self.evidence.metrics_reader.begin,
            judge=self.edges.judge or self.evidence.model_server.judge,
            episodes=self.intake.inbox.episodes_of,
            resolved=self.intake.inbox.resolved,
            is_active=self.evidence.active_alerts.has,
            silences=Silences(self.evidence.alertmanager, self.edges.clock).holds,
            clock=self.edges.clock,
            metrics=self.metrics.decision,
        ).make()
        workers = self.settings.workers
        return self.workflow.make_dispatcher(
            pipeline,
            self.workers,
            self.metrics.decision,
            self.edges.monotonic,
            lanes_of_account=lanes_of_account(workers, len(self.accounts.accounts)),
        )

    @cached_property
    def demotion(self) -> Demotion:
        return Demotion(
            database=self.database,
            playbooks=self.playbooks,
            bounds=bounds_of(self.settings),
            clock=self.edges.clock,
        )

    @cached_property
    def head_signer(self) -> HeadSigner:
        return HeadSigner(
            settings=self.settings,
            database=self.database,
            clients=lambda: self.aws,
            metrics=self.metrics.head,
            clock=self.edges.clock,
        )

    @cached_property
    def _own_place(self) -> Place:
        """The place to which records without a place belong."""
        if not self.accounts.accounts:
            return HOME
        return self.accounts.own_place(clients.own_region()) or HOME

    @cached_property
    def watcher(self) -> Watcher:
        return make_watcher(self.evidence, self.edges.clock)

    def _leader_tasks(self) -> Iterator[LeaderTask]:
        yield from (self.queue, self.dispatcher, self.workflow.approvals, self.workflow.debt_runner)
        yield from (self.evidence.prefetcher, self.head_signer)
        yield VersionWatch(
            database=self.database,
            records=VersionRecords(own=self._own_place),
            places=self.accounts.places,
            read_groups=lambda place: read_groups(self.aws_at(place)),
            clock=self.edges.clock,
        )
        yield from (self.intake.host_alerts, self.intake.missed, self.watcher)
        yield CloudTrailCheck(
            interval_s=self.settings.reconcile_interval_s,
            database=self.database,
            aws_at=self.aws_at,
            places=self.accounts.places,
            metrics=self.metrics.reconcile,
            clock=self.edges.clock,
        )
        yield self.demotion
        if self.settings.cloudtrail:
            yield Review(
                database=self.database,
                inbox=self.intake.inbox,
                aws_at=self.aws_at,
                places=self.accounts.places,
                programs=[*filter(None, map(str.strip, self.settings.programs.split(",")))],
                clock=self.edges.clock,
            )
        yield Retention(
            keep_s=self.settings.retention_days * DAY_S,
            database=self.database,
            inbox=self.intake.inbox,
            delete_phases=self.queue.delete_finished,
            metrics=self.metrics.retention,
            clock=self.edges.clock,
        )
        yield from NotifyTasks(
            settings=self.settings,
            database=self.database,
            inbox=self.intake.inbox,
            channels=self.edges.channels,
            metrics=self.metrics.notify,
            clock=self.edges.clock,
        ).make()
        yield from IncidentTask(
            settings=self.settings,
            database=self.database,
            inbox=self.intake.inbox,
            client=self.edges.incidents,
            metrics=self.metrics.incidents,
            clock=self.edges.clock,
        ).make()
