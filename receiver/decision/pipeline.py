"""The stages from an alert to a decision: target, guards, evidence, verdict. They only read."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property

from actions.place import HOME, Place
from actions.reasons import Reason
from models.features.evidence import Evidence
from models.inference.verdict import Verdict
from receiver.decision.decide import decide, screen
from receiver.decision.guards.base import GuardInput, Guards
from receiver.decision.guards.order import EARLY, KNOWN, PLAIN, STORM
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Act, Decision, Refuse, Snapshot
from receiver.decision.snapshot import GroupSnapshot, SnapshotReader
from receiver.decision.subject import Subject
from receiver.evidence.dependencies.suspects import Suspect
from receiver.evidence.firing_alerts import read_firing
from receiver.evidence.prometheus.freshness import ConditionReaders
from receiver.evidence.promql_recheck import read_facts, recheck, unless_old
from receiver.evidence.roles.of_alert import roles_of_alert
from receiver.evidence.target import Target
from receiver.evidence.targets.resolver import TargetResolver
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.runs.model import Run
from receiver.webhook.episodes import Episode

# A group with this many alerting instances may be in a storm.
_MANY = 3
# A step is decided on facts at most this old, and so is a refusal because AWS did not answer; any
# other refusal on facts that were read after its alert came.
_FRESH_S = 2.0
_UNANSWERED = {Reason.STATE_UNKNOWN, Reason.TARGET_UNPROVEN, Reason.CONDITION_UNKNOWN}


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """A decision and its input.

    `evidence` and `verdict` are None if a guard refused before they were read. `evidence` is also
    None if it was read for another alert of the group: the run of that alert has it.
    """

    target: Target
    snapshot: Snapshot
    playbooks: Sequence[Playbook]
    decision: Decision
    evidence: Evidence | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """The verdict on a target, and the values of the playbook's own queries."""

    verdict: Verdict
    facts: Mapping[str, float]
    suspects: Sequence[Suspect] | None


# Of a target with its alert's labels, at a time; None if they cannot be read.
ReadSuspects = Callable[[Target, Mapping[str, str], float], Sequence[Suspect] | None]
# Target, playbook and alert name.
_FindingsKey = tuple[Target, str, str]


@dataclass(frozen=True, kw_only=True)
class DecisionPipeline:
    """Decides on alerts and changes nothing: shared by the dispatcher and `explain`.

    `gather` begins to read the metrics for the verdict of `judge`, and returns the function that
    waits for them; `pool` runs the playbook's own queries. `is_active` tells whether Alertmanager
    has an alert with these labels. `clock` gives epoch seconds.
    """

    playbooks: Playbooks
    targets: TargetResolver
    snapshots: SnapshotReader
    conditions: ConditionReaders
    pool: Executor
    gather: Callable[[Target, float, Collection[str]], Callable[[], Evidence]]
    judge: Callable[[Evidence, Collection[str]], Verdict]
    is_active: Callable[[Mapping[str, str]], bool | None]
    clock: Callable[[], float]
    read_suspects: ReadSuspects | None = None
    metrics: DecisionMetrics | None = None

    def begin(self, runs: Sequence[Run] = ()) -> "GroupDecision":
        """The decision on runs whose alerts are of one group; nothing is read yet."""
        return GroupDecision(pipeline=self, runs=runs)

    def subject_of(self, run: Run) -> Subject:
        """Reads AWS and Prometheus where the labels of an alert with a playbook do not tell all."""
        request = run.request
        named = self.playbooks.named(request.playbook) if request else None
        matching = self.playbooks.matching(run.labels) if named is None else named
        target = self.targets.resolve(
            run.labels,
            ask=bool(matching) and run.malformed is None,
            # A run that has acted stays where it acts.
            begun=run.place if run.steps_begun else None,
            within=Place(request.account, request.region) if request else HOME,
        )
        return Subject(run=run, playbooks=matching, target=target)


@dataclass(kw_only=True)
class GroupDecision:
    """Decides on runs one after the other, on a snapshot of each place, until the service acts."""

    pipeline: DecisionPipeline
    runs: Sequence[Run]
    _snapshots: dict[Place, GroupSnapshot] = field(default_factory=dict, init=False)
    _findings: dict[_FindingsKey, _Findings] = field(default_factory=dict, init=False)

    @property
    def age_s(self) -> float:
        return max((read.aws.age_s for read in self._snapshots.values()), default=0.0)

    def decide(self, run: Run) -> PipelineResult:
        """Read as much as the guards need, and decide; each may refuse before the next read."""
        subject = self._subjects[run.id]
        read = self._snapshots.get(subject.target.place)
        reused = read is not None and read.covers(subject)
        if read is None or not reused:
            read = self._begin(subject.target.place)
        result = self._decide(subject, read)
        if reused and read.aws.age_s > _FRESH_S and _needs_fresh_facts(result.decision):
            result = self._decide(subject, self._begin(subject.target.place))
        if isinstance(result.decision, Act):
            # Later decisions need a snapshot that includes this action.
            self._snapshots.clear()
        return result

    def take(self, runs: Sequence[Run]) -> None:
        """Decide on these runs next, on the same snapshot if it covers them."""
        self.runs = runs
        self._forget("_subjects", "_episodes")

    def _begin(self, place: Place) -> GroupSnapshot:
        self._findings.clear()
        self._forget("_episodes")
        read, subjects = self.pipeline.snapshots, list(self._subjects.values())
        self._snapshots[place] = read.begin(place, subjects, self.pipeline.clock())
        return self._snapshots[place]

    def _forget(self, *names: str) -> None:
        for name in names:
            self.__dict__.pop(name, None)

    @cached_property
    def _episodes(self) -> Mapping[str, Episode]:
        return self.pipeline.snapshots.episodes([run.id for run in self.runs])

    @cached_property
    def _subjects(self) -> Mapping[str, Subject]:
        # Beside each other: where no label has an id, each asks AWS.
        subjects = self.pipeline.pool.map(self.pipeline.subject_of, self.runs)
        return {subject.run.id: subject for subject in subjects}

    def _decide(self, subject: Subject, read: GroupSnapshot) -> PipelineResult:
        snapshot = read.with_calendar(subject, read.from_run(subject))
        inputs = subject.inputs(snapshot, read.now)
        if result := _refuse_if(subject, inputs, PLAIN):
            return result
        episode = self._episodes.get(subject.run.id)
        snapshot = read.with_records(subject, inputs.snapshot, episode)
        if snapshot.is_silent(read.now) and self.pipeline.is_active(subject.run.labels):
            snapshot = replace(snapshot, last_seen_at=read.now)
        inputs = replace(inputs, snapshot=snapshot)
        if result := _refuse_if(subject, inputs, EARLY):
            return result
        if len(inputs.snapshot.alerting or ()) >= _MANY:
            # AWS is read before the metrics, and the group first.
            inputs = replace(inputs, snapshot=read.with_peers(subject, inputs.snapshot))
            if result := _refuse_if(subject, inputs, (*EARLY, *STORM)):
                return result
            aws_state = read.aws.begin(subject.target, subject.playbook.limits.bounds)
            answered = replace(inputs.snapshot, **vars(aws_state()))
            if result := _refuse_if(subject, replace(inputs, snapshot=answered), (*EARLY, *KNOWN)):
                return result
        # Prometheus works on its answers while this process reads AWS.
        read_metrics = self._begin_metrics(subject, read.now)
        aws_state = read.aws.begin(subject.target, subject.playbook.limits.bounds)
        evidence, findings = read_metrics()
        snapshot = replace(inputs.snapshot, **vars(aws_state()), facts=findings.facts)
        snapshot = read.with_suspects(snapshot, findings.suspects)
        if snapshot.resolved:
            snapshot = replace(snapshot, fires=self._fires(subject, read.now))
        inputs = replace(inputs, snapshot=snapshot, verdict=findings.verdict)
        return replace(_result(subject, inputs, decide(inputs)), evidence=evidence)

    def _fires(self, subject: Subject, now: float) -> bool:
        """Whether Prometheus itself fires the alert."""
        prometheus = self.pipeline.conditions.of(subject.run.labels).prometheus
        mapping = self.pipeline.targets.rules.mapping
        return bool(read_firing(prometheus, [subject.reported], mapping, now))

    def _begin_metrics(
        self, subject: Subject, now: float
    ) -> Callable[[], tuple[Evidence | None, _Findings]]:
        """Start to read the metrics; the result waits for them. Evidence read before is None."""
        playbook, target, pipeline = subject.playbook, subject.target, self.pipeline
        reader, run = pipeline.conditions.of(subject.run.labels), subject.run
        key = (target, playbook.name, run.labels.get("alertname", ""))
        if key in self._findings:
            return lambda: (None, self._findings[key])
        started, roles = time.perf_counter(), roles_of_alert(run.labels)
        reads = None if playbook.ignores_dependencies else pipeline.read_suspects
        gather = None if playbook.recheck else pipeline.gather(target, now, roles)

        def finish() -> tuple[Evidence | None, _Findings]:
            evidence = gather() if gather else None
            verdict = (
                recheck(reader, playbook, target, now, pipeline.pool)
                if evidence is None
                else pipeline.judge(evidence, roles)
            )
            if pipeline.metrics is not None:
                pipeline.metrics.recheck_duration.observe(time.perf_counter() - started)
            times = (0.0 if run.request else run.starts_at, now)
            verdict = unless_old(reader, verdict, playbook, target, times)
            facts = read_facts(reader, playbook, target, now, pipeline.pool)
            suspects = reads(target, run.labels, now) if reads else ()
            self._findings[key] = _Findings(verdict=verdict, facts=facts, suspects=suspects)
            return evidence, self._findings[key]

        return finish


def _needs_fresh_facts(decision: Decision) -> bool:
    return not isinstance(decision, Refuse) or decision.reason in _UNANSWERED


def _refuse_if(subject: Subject, inputs: GuardInput, guards: Guards) -> PipelineResult | None:
    """The result if one of the guards refuses, or None."""
    refusal = screen(inputs, guards)
    return None if refusal is None else _result(subject, inputs, refusal)


def _result(subject: Subject, inputs: GuardInput, decision: Decision) -> PipelineResult:
    return PipelineResult(
        target=subject.target,
        snapshot=inputs.snapshot,
        playbooks=subject.playbooks,
        decision=decision,
        verdict=inputs.verdict,
    )
