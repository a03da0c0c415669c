"""Builds the decision pipeline from the settings, for the service and for `explain`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from models.features.evidence import Evidence
from models.inference.verdict import Verdict
from receiver.controls.records import Override
from receiver.db.database import Database
from receiver.decision.alerting import AlertingReader
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.pipeline import DecisionPipeline, ReadSuspects
from receiver.decision.snapshot import SnapshotReader
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.dependencies import file as dependencies
from receiver.evidence.dependencies.reader import DependencyReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.freshness import ConditionReaders
from receiver.evidence.target import Target
from receiver.evidence.targets.resolver import TargetResolver
from receiver.evidence.targets.rules import TargetRules
from receiver.evidence.targets.series import SeriesFinder
from receiver.playbooks.loader import Playbooks
from receiver.settings import Settings
from receiver.webhook.episodes import Episode


@dataclass(frozen=True, kw_only=True)
class PipelineFactory:
    """The readers that a decision needs; each field has the meaning of the part that gets it."""

    settings: Settings
    playbooks: Playbooks
    rules: TargetRules
    database: Database
    aws: AwsReaders
    prometheus: Prometheus
    series: SeriesFinder
    pool: Executor
    gather: Callable[[Target, float, Collection[str]], Callable[[], Evidence]]
    judge: Callable[[Evidence, Collection[str]], Verdict]
    episodes: Callable[[Sequence[str]], Mapping[str, Episode]]
    resolved: Callable[[Sequence[str]], Collection[str]]
    is_active: Callable[[Mapping[str, str]], bool | None]
    silences: Callable[[], Sequence[Override]] = tuple
    clock: Callable[[], float]
    metrics: DecisionMetrics | None = None

    def make(self) -> DecisionPipeline:
        """Raises InvalidDependenciesError."""
        alerting = AlertingReader(
            playbooks=self.playbooks,
            prometheus=self.prometheus,
            rules=self.rules,
            resolved=self.resolved,
            is_active=self.is_active,
        )
        snapshots = SnapshotReader(
            database=self.database,
            aws=self.aws,
            alerting=alerting,
            mode=self.settings.mode,
            destructive_approvals=self.settings.destructive_approvals,
            gap_s=self.settings.episode_gap_s,
            arming_required=self.settings.arming_required,
            episodes=self.episodes,
            silences=self.silences,
        )
        return DecisionPipeline(
            playbooks=self.playbooks,
            targets=TargetResolver(aws=self.aws, rules=self.rules, series=self.series),
            snapshots=snapshots,
            conditions=ConditionReaders(self.prometheus),
            pool=self.pool,
            gather=self.gather,
            judge=self.judge,
            is_active=self.is_active,
            clock=self.clock,
            read_suspects=self._suspects(),
            metrics=self.metrics,
        )

    def _suspects(self) -> ReadSuspects | None:
        found = dependencies.load(self.settings.dependencies)
        if found is None:
            return None
        reader = DependencyReader(dependencies=found, prometheus=self.prometheus, pool=self.pool)
        return reader.read
