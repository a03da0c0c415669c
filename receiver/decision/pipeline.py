"""The stages from an alert to a decision: target, guards, evidence, verdict. They only read."""

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from actions.reasons import Reason
from models.features.evidence import Evidence
from models.features.signals import ROLES_OF_ALERT
from models.inference.verdict import Verdict
from receiver.decision.decide import decide, screen
from receiver.decision.guards.base import GuardInput, Guards
from receiver.decision.guards.order import EARLY, KNOWN, PLAIN, STORM
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Decision, Refuse, Snapshot, Trigger
from receiver.decision.snapshot import MANY, SnapshotReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.promql_recheck import read_facts, recheck
from receiver.evidence.target import Target
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.runs.model import Run
from receiver.runtime.cache import BoundedCache
from receiver.webhook.episodes import Episode

# In a storm, facts about a target are reused for this long to refuse more of its alerts.
_REUSE_S = 10.0
# The reused fields: all of the snapshot except those of the run and its alert's episode.
_REUSED = (
    *("paused", "claims", "overrides", "attempts", "breaker", "arming", "recent_actions"),
    *("alerting", "reserved", "facts", "instance", "asg", "scopes", "changes", "protected"),
)
# Refusals that the next read of the target may lift, so they are not reused.
_FLEETING = frozenset(
    {Reason.PAUSED, Reason.STATE_UNKNOWN, Reason.TARGET_UNPROVEN, Reason.CONDITION_UNKNOWN}
)
# Refusals by the alert's own episode alone, independent of the reused facts.
_BY_EPISODE = frozenset({Reason.RESOLVED, Reason.STALE})
# Target, group, alert name and playbook.
_RecentKey = tuple[str | None, str | None, str, str]


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """A decision and its input.

    `evidence` and `verdict` are None if a guard refused before they were read. `reused`: they were
    read a moment ago for another alert of the target.
    """

    target: Target
    snapshot: Snapshot
    playbooks: Sequence[Playbook]
    decision: Decision
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    reused: bool = False


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The facts that stay fixed while the pipeline gathers others."""

    trigger: Trigger
    playbooks: Sequence[Playbook]
    target: Target
    now: float

    @property
    def key(self) -> _RecentKey:
        alertname = self.trigger.labels.get("alertname", "")
        return self.target.id, self.target.group, alertname, self.playbooks[0].name

    def inputs(self, snapshot: Snapshot, verdict: Verdict | None = None) -> GuardInput:
        return GuardInput(
            trigger=self.trigger,
            verdict=verdict,
            playbooks=self.playbooks,
            snapshot=snapshot,
            now=self.now,
        )

    def refuse_if(self, snapshot: Snapshot, guards: Guards) -> PipelineResult | None:
        """The result if one of the guards refuses, or None."""
        refusal = screen(self.inputs(snapshot), guards)
        return None if refusal is None else self.result(snapshot, refusal)

    def result(self, snapshot: Snapshot, decision: Decision) -> PipelineResult:
        return PipelineResult(
            target=self.target, snapshot=snapshot, playbooks=self.playbooks, decision=decision
        )


@dataclass(frozen=True, kw_only=True)
class DecisionPipeline:
    """Decides on an alert and changes nothing: shared by the dispatcher and `explain`.

    `gather` reads the metrics that `judge` decides on; `pool` runs the playbook's own queries.
    """

    playbooks: Playbooks
    snapshots: SnapshotReader
    prometheus: Prometheus
    pool: Executor
    gather: Callable[[Target, float, Collection[str]], Evidence]
    judge: Callable[[Evidence, Collection[str]], Verdict]
    # Results by target, with the time of their read and their run.
    _recent: BoundedCache[_RecentKey, tuple[float, str, PipelineResult]] = field(
        default_factory=BoundedCache, init=False
    )

    def decide(
        self,
        run: Run,
        episode: Callable[[], Episode | None],
        now: float,
        metrics: DecisionMetrics | None = None,
    ) -> PipelineResult:
        """Gather what the guards need, and decide. `episode` reads the run's episode.

        Each stage may refuse, so that a storm causes as few queries to AWS and Prometheus as
        possible.
        """
        candidate = self._candidate(run, now)
        snapshot = self.snapshots.from_run(run, candidate.target, now)
        if result := candidate.refuse_if(snapshot, PLAIN):
            return result
        playbook = candidate.playbooks[0]
        snapshot = self.snapshots.with_episode(run, snapshot, episode())
        if _is_new(run) and (result := self._reuse_recent(candidate, snapshot)):
            return result
        snapshot = self.snapshots.with_records(run, snapshot, playbook, now)
        many = len(snapshot.alerting or ()) >= MANY
        if result := candidate.refuse_if(snapshot, EARLY):
            return self._remember(candidate, result) if many else result
        if many:
            # AWS is read before the metrics, and the group first.
            recent_group = self.snapshots.aws.recent_group(snapshot.group)
            grouped = replace(snapshot, asg=recent_group)
            if result := candidate.refuse_if(grouped, (*EARLY, *STORM)):
                return self._remember(candidate, result)
            snapshot = self.snapshots.recount_alerting(snapshot, now)
        with_aws = self.snapshots.begin_with_aws(snapshot, playbook, now)
        if many and (result := candidate.refuse_if(with_aws(), (*EARLY, *KNOWN))):
            return result
        started = time.perf_counter()
        evidence, verdict = self._recheck(run, candidate)
        if metrics is not None:
            metrics.recheck_duration.observe(time.perf_counter() - started)
        facts = read_facts(self.prometheus, playbook, candidate.target, now, self.pool)
        snapshot = replace(with_aws(), facts=facts)
        decision = decide(candidate.inputs(snapshot, verdict))
        result = replace(candidate.result(snapshot, decision), evidence=evidence, verdict=verdict)
        return self._remember(candidate, result) if many else result

    def _candidate(self, run: Run, now: float) -> _Candidate:
        request = run.request
        playbooks = (
            self.playbooks.named(request.playbook)
            if request
            else self.playbooks.matching(run.labels)
        )
        ask = bool(playbooks) and run.malformed is None
        return _Candidate(
            trigger=_trigger(run),
            playbooks=playbooks,
            target=self.snapshots.aws.resolve_target(run.labels, ask=ask),
            now=now,
        )

    def _remember(self, candidate: _Candidate, result: PipelineResult) -> PipelineResult:
        decision = result.decision
        fleeting = isinstance(decision, Refuse) and decision.reason in _FLEETING
        if not fleeting:
            # Without the evidence, which is large and stored with the run.
            kept = replace(result, evidence=None)
            self._recent[candidate.key] = candidate.now, candidate.trigger.run_id, kept
        return result

    def _reuse_recent(self, candidate: _Candidate, snapshot: Snapshot) -> PipelineResult | None:
        """In a storm, a refusal by facts that were read a moment ago; or None.

        Only refusals reuse facts: before any step, everything is read again.
        """
        read_at, run_id, recent = self._recent.get(candidate.key, (0.0, "", None))
        age_s = candidate.now - read_at
        if recent is None or not 0 <= age_s < _REUSE_S:
            return None
        reused = {name: getattr(recent.snapshot, name) for name in _REUSED}
        snapshot = replace(snapshot, **reused)
        guards = EARLY if snapshot.asg is None else (*EARLY, *STORM)
        verdict, refusal = None, screen(candidate.inputs(snapshot), guards)
        # A verdict does not apply to an alert that started after its metrics were read.
        judged = recent.verdict is not None and candidate.trigger.starts_at <= read_at
        if refusal is None and judged:
            verdict = recent.verdict
            decision = decide(candidate.inputs(snapshot, verdict))
            refusal = decision if isinstance(decision, Refuse) else None
        if refusal is None:
            return None
        if refusal.reason not in _BY_EPISODE:
            source = f"as read {age_s:.0f} s before, for run {run_id}"
            refusal = replace(refusal, detail=f"{refusal.detail} ({source})")
        return replace(
            recent,
            snapshot=snapshot,
            playbooks=candidate.playbooks,
            decision=refusal,
            verdict=verdict,
            reused=True,
        )

    def _recheck(self, run: Run, candidate: _Candidate) -> tuple[Evidence | None, Verdict]:
        """The verdict of the playbook's own queries, if it has any, else of the model."""
        playbook, target, now = candidate.playbooks[0], candidate.target, candidate.now
        if playbook.recheck:
            return None, recheck(self.prometheus, playbook, target, now, self.pool)
        roles = ROLES_OF_ALERT.get(run.labels.get("alertname", ""), ())
        evidence = self.gather(target, now, roles)
        return evidence, self.judge(evidence, roles)


def _is_new(run: Run) -> bool:
    """Whether no person asked for the run, and it has not acted: a refusal loses nothing."""
    return run.request is None and run.approval is None and not run.steps_begun


def _trigger(run: Run) -> Trigger:
    return Trigger(
        run_id=run.id,
        labels=run.labels,
        starts_at=run.starts_at,
        malformed=run.malformed,
        request=run.request,
    )
