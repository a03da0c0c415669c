"""The re-check: one verdict out of the group's present, the target's past, and what was learnt.

The group comes first: when most siblings moved, no single host is at fault, whatever its own
metrics look like. Then the learned model has the word on a host that moved alone; it confirms
only what looks like something it was trained on. No model means undecided.
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
from models.inference.parameters import Kind, Reading
from models.inference.verdict import Answer, Contribution, Verdict

NO_MODEL = "none"
_SHOWN = 4
_FAR = 3.0
_FEW = 1 / 3


@dataclass(frozen=True)
class Examined:
    """A verdict, and the features that it rests on as `models.inference.drift` takes them."""

    verdict: Verdict
    placed: Floats | None = None


def judge(model: Model | None, evidence: Evidence, roles: Collection[str] = ()) -> Verdict:
    """Whether a remediation would help the target of an alert on these roles.

    Pure: the same model and evidence give the same verdict; nothing later than `evidence.at`
    takes part.
    """
    return examine(model, evidence, roles).verdict


def examine(model: Model | None, evidence: Evidence, roles: Collection[str] = ()) -> Examined:
    """As `judge`, with what the verdict was reached from."""
    if model is None:
        return Examined(_undecided(NO_MODEL, "There is no model to judge with."))
    group = None if evidence.relative else robust_detector.judge(evidence, roles)
    if group is not None and group.lacking:
        return Examined(replace(group, model=model.version))
    seen = window(evidence)
    lacking = _lacking(evidence, seen.history, len(seen.roles))
    if lacking is not None:
        return Examined(_undecided(model.version, lacking))
    vector, levels = features(seen, roles)
    if not levels.roles:
        return Examined(_undecided(model.version, "No role has both a past and a present."))
    reading = model.readings.read(vector)
    limits, placed = model.learned.limits, vector[model.learned.used]
    strange = reading.strange > limits.strange
    if group is None:
        answer = _alone(reading, limits.confirm, limits.refute, strange=strange)
        reasons = (_told(reading), *_reasons(levels))
        return Examined(_verdict(model.version, answer, reading, reasons), placed)
    alone = _alone(reading, limits.confirm, limits.refute, strange=strange)
    answer = _with_group(group, alone)
    # What the model says of the host alone is no measure of what was told by its siblings.
    outweighed = answer is not alone
    told = _outweighed(reading, alone) if outweighed else _told(reading)
    kind = Kind.GROUP_LOAD if group.surging else reading.kind
    verdict = replace(
        group,
        answer=answer,
        score=max(group.score, reading.score) if outweighed else reading.score,
        confidence=None if outweighed else reading.confidence,
        model=model.version,
        kind=kind.value if answer is Answer.CONFIRMED else None,
        contributions=(*group.contributions[:1], told, *group.contributions[1:]),
    )
    return Examined(verdict, placed)


def _lacking(evidence: Evidence, history: Floats, roles: int) -> str | None:
    told = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
    if not roles:
        return f"Nothing is known of the target{told}."
    if history.shape[1] < DAY_SLOTS:
        hours = history.shape[1] * 24 / DAY_SLOTS
        return f"Only {hours:.0f} h of the target are known, less than a day: no telling usual."
    return None


def _alone(reading: Reading, confirm: float, refute: float, *, strange: bool) -> Answer:
    if strange:
        return Answer.UNDECIDED
    if reading.fault >= confirm:
        return Answer.CONFIRMED
    return Answer.REFUTED if reading.score <= refute else Answer.UNDECIDED


def _with_group(group: Verdict, alone: Answer) -> Answer:
    """Siblings that were looked at outweigh what one host's metrics look like by themselves.

    The model learnt from single machines. So it has the word where the comparison leaves the
    case open, and where it contradicts a refutation nobody can say.
    """
    if group.answer is Answer.CONFIRMED:
        return group.answer
    if group.answer is Answer.REFUTED:
        return Answer.UNDECIDED if alone is Answer.CONFIRMED else group.answer
    if not group.peers or group.peers_moved is None or group.peers_moved / group.peers > _FEW:
        # Most of the group, or nothing known of it: no single host is told to be at fault.
        return group.answer
    return alone


def _verdict(
    version: str, answer: Answer, reading: Reading, contributions: tuple[Contribution, ...]
) -> Verdict:
    return Verdict(
        answer=answer,
        score=reading.score,
        confidence=reading.confidence,
        model=version,
        contributions=contributions,
        kind=reading.kind.value if answer is Answer.CONFIRMED else None,
    )


def _undecided(version: str, why: str) -> Verdict:
    return Verdict(
        answer=Answer.UNDECIDED,
        score=0.0,
        confidence=None,
        model=version,
        contributions=(Contribution(role="", sigma=None, text=why),),
    )


def _told(reading: Reading) -> Contribution:
    looks = f"looks like {reading.kind.value.replace('_', ' ')}"
    unlike = "; unlike what the model was trained on" if reading.strange > 1 else ""
    text = f"The model puts an incident at {reading.confidence:.0%}, {looks}{unlike}."
    return Contribution(role="", sigma=None, text=text)


def _outweighed(reading: Reading, alone: Answer) -> Contribution:
    text = (
        f"Of the host alone the model would say: {alone}, an incident at {reading.confidence:.0%}."
    )
    return Contribution(role="", sigma=None, text=text)


def _reasons(levels: Levels) -> tuple[Contribution, ...]:
    """The roles farthest from this hour on earlier days, and whether they were so before."""
    sigma = np.sinh(levels.columns["hour"])
    again = levels.columns["again"]
    found: list[Contribution] = []
    for row in np.argsort(-np.abs(sigma))[:_SHOWN]:
        if abs(sigma[row]) < _FAR and found:
            break
        side = "above" if sigma[row] > 0 else "below"
        text = f"{levels.roles[row]} {sigma[row]:+.1f} sigma {side} this hour on earlier days"
        if again[row] > 0:
            text += f"; as far on {again[row]:.0%} of them"
        found.append(
            Contribution(role=levels.roles[row], sigma=round(float(sigma[row]), 1), text=f"{text}.")
        )
    return tuple(found)
