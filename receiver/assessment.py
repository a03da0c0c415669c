"""One alert's way to a decision: target, guards, evidence, verdict. It only reads."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from models.evidence import Evidence
from models.roles import ROLES_OF_ALERT
from models.verdict import Verdict
from receiver.decide import decide, screen
from receiver.decision import Decision, Situation, Subject
from receiver.episodes import Episode
from receiver.metrics import Metrics
from receiver.playbooks import Playbook, Playbooks
from receiver.runs import Run
from receiver.situation import Situations, Target


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """All that a decision rests on; `evidence` and `verdict` are None where a guard was enough."""

    target: Target
    situation: Situation
    playbooks: Sequence[Playbook]
    evidence: Evidence | None
    verdict: Verdict | None
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Decides on one alert and changes nothing: what `explain` and the assessor share."""

    playbooks: Playbooks
    situations: Situations
    gather: Callable[[Target, float], Evidence]
    judge: Callable[[Evidence, Collection[str]], Verdict]

    def of(
        self, run: Run, episode: Episode | None, now: float, metrics: Metrics | None = None
    ) -> Assessed:
        alert = Subject(run_id=run.id, labels=run.labels, starts_at=run.starts_at, odd=run.odd)
        matching = self.playbooks.matching(run.labels)
        target = self.situations.locate(run.labels, ask=bool(matching) and run.odd is None)
        situation = self.situations.early(run, target, episode)
        refusal = screen(alert, matching, situation, now)
        evidence, verdict = None, None
        decision: Decision
        if refusal is not None:
            decision = refusal
        else:
            answered = self.situations.ask(situation)
            started = time.perf_counter()
            evidence = self.gather(target, now)
            verdict = self.judge(evidence, ROLES_OF_ALERT.get(run.labels.get("alertname", ""), ()))
            if metrics is not None:
                metrics.recheck_duration.observe(time.perf_counter() - started)
            situation = answered()
            decision = decide(alert, verdict, matching, situation, now)
        return Assessed(
            target=target,
            situation=situation,
            playbooks=matching,
            evidence=evidence,
            verdict=verdict,
            decision=decision,
        )
