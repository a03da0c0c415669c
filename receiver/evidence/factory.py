"""Builds the readers of evidence for the service."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import httpx

from actions.aws.client_set import Aws
from actions.place import Place
from receiver.evidence.accounts.file import Accounts
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.metrics import EvidenceMetrics, ModelMetrics
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prefetch import Prefetcher
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.connect import connect
from receiver.evidence.source import Source
from receiver.evidence.targets.rules import TargetRules
from receiver.evidence.targets.series import SeriesFinder
from receiver.monitoring import alertmanager
from receiver.monitoring.active_alerts import ActiveAlerts
from receiver.monitoring.alertmanager import Alertmanager
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.watched_files import WatchedFiles, watch_playbooks
from receiver.settings import Settings


@dataclass(kw_only=True)
class EvidenceReaders:
    """The readers of Prometheus, Alertmanager, AWS and the model; queries run in `pool`.

    With a `client` or an `alertmanager_client`, requests go through it.
    """

    settings: Settings
    playbooks: Playbooks
    aws: Aws
    aws_at: Callable[[Place], Aws]
    accounts: Accounts
    client: httpx.Client | None
    alertmanager_client: httpx.Client | None
    pool: Executor
    metrics: EvidenceMetrics
    model_metrics: ModelMetrics
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    rules: TargetRules = field(init=False)
    prometheus: Prometheus = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    active_alerts: ActiveAlerts = field(init=False)
    aws_readers: AwsReaders = field(init=False)
    series: SeriesFinder = field(init=False)
    model_server: ModelServer = field(init=False)
    prefetcher: Prefetcher = field(init=False)
    metrics_reader: MetricsReader = field(init=False)

    def __post_init__(self) -> None:
        """Raises InvalidTargetsError or InvalidRolesError."""
        settings = self.settings
        self.rules = TargetRules.of(settings)
        self.prometheus = self._prometheus(
            lambda: self.metrics.count_failed_read(Source.PROMETHEUS)
        )
        self.alertmanager = alertmanager.connect(settings, self.alertmanager_client)
        self.active_alerts = ActiveAlerts(self.alertmanager, self.monotonic)
        self.aws_readers = AwsReaders(
            aws_at=self.aws_at,
            accounts=self.accounts,
            pool=self.pool,
            trail=settings.cloudtrail,
            standalone_percent=settings.standalone_budget,
            monotonic=self.monotonic,
            on_unreadable=self.metrics.count_failed_read,
        )
        self.series = SeriesFinder(
            aws=self.aws_readers, prometheus=self.prometheus, rules=self.rules, clock=self.clock
        )
        self.model_server = ModelServer(
            settings.model, settings.model_manifest, lambda: self.aws, self.model_metrics
        )
        self.prefetcher = Prefetcher(
            # Not counted: a failed prefetch harms no decision.
            reader=MetricsReader(prometheus=self._prometheus(lambda: None), pool=self.pool),
            playbooks=self.playbooks,
            clock=self.clock,
            prefetch_aws=self._prefetch_aws,
        )
        self.metrics_reader = MetricsReader(
            prometheus=self.prometheus, pool=self.pool, prefetched=self.prefetcher.get
        )

    def _prefetch_aws(self, names: Collection[str], labels: Mapping[str, str], now: float) -> None:
        """Read ahead of an alert in the one place that its labels leave."""
        places, mapping = self.aws_readers.places, self.rules.mapping
        if len(places) > 1:
            places = [place for place in places if mapping.may_be_at(labels, place)]
        if len(places) == 1:
            self.aws_readers.at(places[0]).prefetch(names, now)

    def watched(self, loaded: Callable[[Playbooks], None]) -> Sequence[WatchedFiles]:
        """What is loaded again when it changes; `loaded` is called after playbooks were."""
        playbooks = watch_playbooks(self.settings, self.playbooks, loaded)
        return playbooks, *self.rules.watch(self.settings)

    def _prometheus(self, failed: Callable[[], None]) -> Prometheus:
        return connect(self.settings, client=self.client, clock=self.clock, failed=failed)
