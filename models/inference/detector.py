"""The re-check: one verdict from the group's present, the target's past, and the learned model.

The group is compared first: if most siblings moved, no single host is at fault, whatever its own
metrics show. The learned model decides on a host that moved alone; it confirms only alerts that
resemble its training examples. Without a model the verdict is undecided.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from models.features.baselines import Levels
from models.features.evidence import Evidence
from models.features.vector import Floats, features
from models.features.window import DAY_SLOTS, window
from models.inference import robust_detector
from models.inference.artifact import Model
from models.inference.parameters import FaultKind, Prediction, Thresholds, decide, is_usual
from models.inference.verdict import Answer, Contribution, Verdict

NO_MODEL = "none"
_SHOWN = 4
_FAR = 3.0
_FEW = 1 / 3


@dataclass(frozen=True)
class Examined:
    """A verdict; `features`, as `models.inference.drift` takes them, and what the model predicts.

    Both are None without a model, and where the evidence is too small.
    """

    verdict: Verdict
    features: Floats | None = None
    prediction: Prediction | None = None


def judge(model: Model | None, evidence: Evidence, roles: Collection[str] = ()) -> Verdict:
    """Decide whether a remediation would help the target of an alert on these roles.

    Pure: the same model and evidence give the same verdict; samples after `evidence.at` have no
    effect.
    """
    return examine(model, evidence, roles).verdict


def examine(model: Model | None, evidence: Evidence, roles: Collection[str] = ()) -> Examined:
    """Judge as `judge` does, and return the features, too."""
    if model is None:
        return Examined(_undecided(NO_MODEL, "There is no model, so the re-check cannot decide."))
    group = None if evidence.relative else robust_detector.judge(evidence, roles)
    if group is not None and group.lacking:
        return Examined(replace(group, model=model.version))
    grids = window(evidence)
    lacking = _lacking(evidence, grids.history, len(grids.roles))
    if lacking is not None:
        return Examined(_undecided(model.version, lacking))
    vector, levels = features(grids, roles)
    if not levels.roles:
        return Examined(
            _undecided(
                model.version, "No metric of the target has both a current value and a history."
            )
        )
    prediction = model.batcher.predict(vector)
    known = prediction.strange <= model.parameters.thresholds.strange
    used = vector[model.parameters.used]
    alone = _alone(prediction, model.parameters.thresholds)
    if group is None:
        reasons = (_explain(prediction, known=known), *_reasons(levels))
        verdict = _verdict(model.version, alone, prediction, reasons)
    else:
        verdict = _with_group(model.version, group, prediction, alone, known=known)
    if not known:
        # A probability of what resembles no training example would be a guess.
        verdict = replace(verdict, confidence=None)
    return Examined(verdict, used, prediction)


def _with_group(
    version: str, group: Verdict, prediction: Prediction, alone: Answer, *, known: bool
) -> Verdict:
    """Combine the group's verdict with the model's; confidence concerns the host alone."""
    answer = _weigh(group, alone, usual=is_usual(prediction.alike, prediction.unusual))
    outweighed = answer is not alone
    reason = _explain_outweighed(alone) if outweighed else _explain(prediction, known=known)
    kind = FaultKind.GROUP_LOAD if group.surging else prediction.kind
    return replace(
        group,
        answer=answer,
        score=max(group.score, prediction.score) if outweighed else prediction.score,
        confidence=None if outweighed else prediction.confidence,
        model=version,
        kind=kind.value if answer is Answer.CONFIRMED else None,
        unusual=_finite(prediction.unusual),
        contributions=(*group.contributions[:1], reason, *group.contributions[1:]),
    )


def _lacking(evidence: Evidence, history: Floats, roles: int) -> str | None:
    problems = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
    if not roles:
        return f"The target has no metrics{problems}."
    if history.shape[1] < DAY_SLOTS:
        hours = history.shape[1] * 24 / DAY_SLOTS
        return f"Prometheus has only {hours:.0f} h of the target; a usual level needs 24 h."
    return None


def _alone(prediction: Prediction, thresholds: Thresholds) -> Answer:
    if prediction.strange > thresholds.strange:
        return Answer.UNDECIDED
    return decide(
        thresholds,
        fault=prediction.fault,
        confidence=prediction.confidence,
        score=prediction.score,
        usual=is_usual(prediction.alike, prediction.unusual),
    )


def _weigh(group: Verdict, alone: Answer, *, usual: bool) -> Answer:
    """The comparison with siblings outweighs the metrics of one host.

    The model learned from single machines. It decides if the comparison is undecided. If it
    contradicts a refutation by the comparison, the answer is undecided; so it is where the alert's
    own metrics are in their range, but the host as a whole is not. On a host without siblings it
    decides only where the host's own metrics leave no other cause.
    """
    if group.answer is Answer.CONFIRMED:
        return group.answer
    if group.answer is Answer.REFUTED:
        holds = alone is not Answer.CONFIRMED and (usual or group.recurring)
        return group.answer if holds else Answer.UNDECIDED
    if group.unexplained and alone is Answer.CONFIRMED:
        return alone
    if not group.peers or group.peers_moved is None or group.peers_moved / group.peers > _FEW:
        # Most of the group moved, or its state is unknown: no single host is at fault.
        return group.answer
    return alone


def _verdict(
    version: str, answer: Answer, prediction: Prediction, contributions: tuple[Contribution, ...]
) -> Verdict:
    return Verdict(
        answer=answer,
        score=prediction.score,
        confidence=prediction.confidence,
        model=version,
        contributions=contributions,
        kind=prediction.kind.value if answer is Answer.CONFIRMED else None,
        unusual=_finite(prediction.unusual),
    )


def _finite(value: float) -> float | None:
    return round(value, 2) if np.isfinite(value) else None


def _undecided(version: str, why: str) -> Verdict:
    return Verdict(
        answer=Answer.UNDECIDED,
        score=0.0,
        confidence=None,
        model=version,
        contributions=(Contribution(role="", sigma=None, text=why),),
    )


def _explain(prediction: Prediction, *, known: bool) -> Contribution:
    looks = f"looks like {prediction.kind.value.replace('_', ' ')}"
    if known:
        text = f"The model's probability of an incident is {prediction.confidence:.0%}: {looks}."
    else:
        text = f"It {looks}, but it is far from all that the model learned: no probability is told."
    if 1 < prediction.unusual < np.inf:
        text += (
            f" The host is {prediction.unusual:.1f} times as far from its past as usual at most."
        )
    return Contribution(role="", sigma=None, text=text)


def _explain_outweighed(alone: Answer) -> Contribution:
    text = f"Without its siblings, the model would have answered {alone}."
    return Contribution(role="", sigma=None, text=text)


def _reasons(levels: Levels) -> tuple[Contribution, ...]:
    """The roles farthest from their level at this hour, with the share of days as far from it."""
    sigma = np.sinh(levels.columns["hour"])
    again = levels.columns["again"]
    reasons: list[Contribution] = []
    for row in np.argsort(-np.abs(sigma))[:_SHOWN]:
        if abs(sigma[row]) < _FAR and reasons:
            break
        side = "above" if sigma[row] > 0 else "below"
        text = f"{levels.roles[row]} {sigma[row]:+.1f} sigma {side} this hour on earlier days"
        if again[row] > 0:
            text += f"; equally far on {again[row]:.0%} of those days"
        reasons.append(
            Contribution(role=levels.roles[row], sigma=round(float(sigma[row]), 1), text=f"{text}.")
        )
    return tuple(reasons)
