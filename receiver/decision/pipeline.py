"""One alert's way to a decision: target, guards, evidence, verdict. It only reads."""

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from actions.reasons import Reason
from models.features.evidence import Evidence
from models.features.signals import ROLES_OF_ALERT
from models.inference.verdict import Verdict
from receiver.decision.decide import decide, screen
from receiver.decision.guards.base import Guards
from receiver.decision.guards.early import EARLY, PLAIN
from receiver.decision.guards.late import KNOWN, STORM
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Asked, Decision, Refusal, Situation, Subject
from receiver.decision.snapshot import MANY, Situations
from receiver.evidence.aws_state import Target
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.promql_recheck import facts, recheck
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.runs.model import Run
from receiver.runtime.cache import BoundedCache
from receiver.webhook.episodes import Episode

# With many alerting instances of a group AWS is asked before the metrics, and what was read of a
# target is good for so many seconds to refuse more about it.
_LATELY_S = 10.0
_READ = (
    *("paused", "claims", "overrides", "attempts", "breaker", "arming", "acts", "alerting"),
    *("reserved", "facts", "instance", "asg", "scopes", "changes", "protected"),
)
# What may be otherwise at the next look.
_PASSING = frozenset(
    {Reason.PAUSED, Reason.STATE_UNKNOWN, Reason.TARGET_UNPROVEN, Reason.CONDITION_UNKNOWN}
)
# What the alert itself says.
_OWN = frozenset({Reason.RESOLVED, Reason.STALE})
_About = tuple[str | None, str | None, str, str]


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """All that a decision rests on; `evidence` and `verdict` are None where a guard was enough.

    `borrowed`: they were read for another alert of the target, a moment ago.
    """

    target: Target
    situation: Situation
    playbooks: Sequence[Playbook]
    decision: Decision
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    borrowed: bool = False


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Decides on one alert and changes nothing: what `explain` and the assessor share.

    `gather` and `judge` are the model's way to a verdict; `pool` asks Prometheus for the rest.
    """

    playbooks: Playbooks
    situations: Situations
    prometheus: Prometheus
    pool: Executor
    gather: Callable[[Target, float, Collection[str]], Evidence]
    judge: Callable[[Evidence, Collection[str]], Verdict]
    # What was read of targets, with when, and for which run.
    _lately: BoundedCache[_About, tuple[float, str, Assessed]] = field(
        default_factory=BoundedCache, init=False
    )

    def of(
        self,
        run: Run,
        episode: Callable[[], Episode | None],
        now: float,
        metrics: DecisionMetrics | None = None,
    ) -> Assessed:
        """`episode` reads that of the run, where it comes to that."""
        alert = _subject(run)
        matching = (
            self.playbooks.named(run.asked["playbook"])
            if run.asked
            else self.playbooks.matching(run.labels)
        )
        target = self.situations.aws.locate(run.labels, ask=bool(matching) and run.odd is None)
        situation = self.situations.plain(run, target, now)

        def ended(known: Situation, guards: Guards) -> Assessed | None:
            refusal = screen(alert, matching, known, now, guards)
            if refusal is None:
                return None
            return Assessed(target=target, situation=known, playbooks=matching, decision=refusal)

        # In a storm what is not read, and not asked of AWS or of metrics, is what counts.
        if over := ended(situation, PLAIN):
            return over
        playbook = matching[0]
        situation = self.situations.seen(run, situation, episode())
        if _new(run) and (over := self._known(alert, matching, target, situation, now)):
            return over
        situation = self.situations.early(run, situation, playbook, now)
        many = len(situation.alerting or ()) >= MANY
        if over := ended(situation, EARLY):
            return self._remembered(alert, over, now) if many else over
        if many:
            grouped = replace(situation, asg=self.situations.aws.lately(situation.group))
            if over := ended(grouped, (*EARLY, *STORM)):
                return self._remembered(alert, over, now)
            situation = self.situations.counted_anew(situation, now)
        answered = self.situations.ask(situation, playbook, now)
        if many and (over := ended(answered(), (*EARLY, *KNOWN))):
            return over
        started = time.perf_counter()
        evidence, verdict = self._rechecked(run, playbook, target, now)
        if metrics is not None:
            metrics.recheck_duration.observe(time.perf_counter() - started)
        found = facts(self.prometheus, playbook, target, now, self.pool)
        situation = replace(answered(), facts=found)
        decision = decide(alert, verdict, matching, situation, now)
        assessed = Assessed(
            target=target,
            situation=situation,
            playbooks=matching,
            evidence=evidence,
            verdict=verdict,
            decision=decision,
        )
        return self._remembered(alert, assessed, now) if many else assessed

    def _remembered(self, alert: Subject, assessed: Assessed, now: float) -> Assessed:
        decision = assessed.decision
        # Overrides are for labels, which other alerts of the target may not have.
        passing = isinstance(decision, Refusal) and decision.reason in _PASSING
        if assessed.situation.overrides or passing:
            return assessed
        about = _about(alert, assessed.target, assessed.playbooks[0])
        # Its run has the evidence, which is large.
        self._lately[about] = now, alert.run_id, replace(assessed, evidence=None)
        return assessed

    def _known(
        self,
        alert: Subject,
        matching: Sequence[Playbook],
        target: Target,
        situation: Situation,
        now: float,
    ) -> Assessed | None:
        """What is refused, in a storm, by what was known of the target a moment ago.

        What would be acted on by that is looked at anew.
        """
        at, run_id, known = self._lately.get(_about(alert, target, matching[0]), (0.0, "", None))
        if known is None or not 0 <= now - at < _LATELY_S:
            return None
        then = {name: getattr(known.situation, name) for name in _READ}
        situation = replace(situation, **then)
        guards = EARLY if situation.asg is None else (*EARLY, *STORM)
        verdict, decision = None, _refused(screen(alert, matching, situation, now, guards))
        # What began since is not what was looked at.
        if decision is None and known.verdict is not None and alert.starts_at <= at:
            verdict = known.verdict
            decision = _refused(decide(alert, verdict, matching, situation, now))
        if decision is None:
            return None
        if decision.reason not in _OWN:
            whose = f"as read {now - at:.0f} s before, for run {run_id}"
            decision = replace(decision, detail=f"{decision.detail} ({whose})")
        return replace(
            known,
            situation=situation,
            playbooks=matching,
            decision=decision,
            verdict=verdict,
            borrowed=True,
        )

    def _rechecked(
        self, run: Run, playbook: Playbook, target: Target, now: float
    ) -> tuple[Evidence | None, Verdict]:
        """The model's verdict, or what the playbook puts in its place."""
        if playbook.recheck:
            return None, recheck(self.prometheus, playbook, target, now, self.pool)
        roles = ROLES_OF_ALERT.get(run.labels.get("alertname", ""), ())
        evidence = self.gather(target, now, roles)
        return evidence, self.judge(evidence, roles)


def _refused(decision: Decision | None) -> Refusal | None:
    return decision if isinstance(decision, Refusal) else None


def _new(run: Run) -> bool:
    """Nobody asked for it or approved it, and it has not acted: its refusal costs it nothing."""
    return run.asked is None and run.approval is None and not run.steps_begun


def _about(alert: Subject, target: Target, playbook: Playbook) -> _About:
    return target.id, target.group, alert.labels.get("alertname", ""), playbook.name


def _subject(run: Run) -> Subject:
    asked = Asked(by=run.asked["by"], dry_run=run.asked["dry_run"]) if run.asked else None
    return Subject(
        run_id=run.id, labels=run.labels, starts_at=run.starts_at, odd=run.odd, asked=asked
    )
