"""The re-check: one verdict from the target's past, its siblings' present, and what was learned.

One model judges a host with and without siblings. If most siblings moved too, no single host is at
fault, whatever its own metrics show. Without a model the verdict is undecided.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from models.features.baselines import MOVED, Levels
from models.features.evidence import Evidence
from models.features.peers import TRAFFIC, Siblings
from models.features.seasonality import DISK
from models.features.signals import ROLES
from models.features.vector import Features, Floats, features
from models.features.window import DAY_SLOTS, STALE_S, Window, window
from models.inference.artifact import Model
from models.inference.parameters import FaultKind, Prediction, days_alike, jumps
from models.inference.verdict import Answer, Contribution, Verdict

NO_MODEL = "none"
_SHOWN = 4
_FAR = 3.0
# An alert on no known role needs at least this one.
_NEEDED = ("cpu_busy",)
# What a job drives as a runaway process does.
_DRIVEN = frozenset({"cpu_busy", "load1", "load5"})
# What a host without siblings is told at least, if it is confirmed.
_SURE_ALONE = 0.9
# The least score of a group that is overloaded, which is measured and not predicted.
_OVERLOADED = 0.9


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
    grids = window(evidence)
    lacking = _lacking(evidence, grids, roles)
    if lacking is not None:
        return Examined(_undecided(model.version, lacking))
    found = features(grids, roles)
    if not found.levels.roles:
        why = "No metric of the target has both a current value and a history."
        return Examined(_undecided(model.version, why))
    prediction = model.parameters.predict(found.vector)
    verdict = _verdict(model, evidence, found, prediction)
    return Examined(verdict, found.vector[model.parameters.used], prediction)


def _lacking(evidence: Evidence, grids: Window, roles: Collection[str]) -> str | None:
    """The sentence about missing evidence, or None if it suffices."""
    problems = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
    if evidence.recent is None:
        return f"The target's current metrics are unknown{problems}."
    if evidence.history is None:
        return f"The target's past metrics are unknown{problems}."
    for role in roles or (() if evidence.relative else _NEEDED):
        row = grids.roles.index(role) if role in grids.roles else None
        slots = 0 if row is None else int(np.isfinite(grids.history[row]).sum())
        if row is not None and not np.isfinite(grids.now[row]):
            return f"No sample of {role} in the last {STALE_S:.0f} s: the target does not answer."
        if slots < DAY_SLOTS:
            hours = slots * 24 / DAY_SLOTS
            return f"Prometheus has only {hours:.0f} h of {role}; a usual level needs 24 h."
    if not grids.roles or grids.history.shape[1] < DAY_SLOTS:
        return f"Prometheus has less than 24 h of the target{problems}."
    return None


def _verdict(model: Model, evidence: Evidence, found: Features, prediction: Prediction) -> Verdict:
    siblings, answer = found.siblings, prediction.answer
    overloaded = bool(siblings and siblings.surging) and not prediction.recurring
    doubts: tuple[Contribution, ...] = ()
    if overloaded:
        answer = Answer.CONFIRMED
    elif answer is Answer.CONFIRMED and not evidence.relative:
        doubts = _doubts(found, prediction)
        answer = Answer.UNDECIDED if doubts else answer
    kind = FaultKind.GROUP_LOAD if overloaded else prediction.kind
    return Verdict(
        answer=answer,
        score=max(prediction.score, _OVERLOADED) if overloaded else prediction.score,
        # That of a host says nothing of its group.
        confidence=None if overloaded or doubts else prediction.confidence,
        model=model.version,
        contributions=(
            *_explain_siblings(evidence, siblings),
            *(doubts or (_explain(prediction, found, overloaded=overloaded),)),
            *_reasons(found.levels, relative=evidence.relative),
        ),
        peers=siblings.compared if siblings and siblings.seen else None,
        peers_moved=siblings.moved if siblings and siblings.seen else None,
        surging=siblings.surging if siblings else None,
        kind=kind.value if answer is Answer.CONFIRMED else None,
        unusual=round(prediction.unusual, 2) if np.isfinite(prediction.unusual) else None,
    )


def _doubts(found: Features, prediction: Prediction) -> tuple[Contribution, ...]:
    """What else can be behind what the model takes for a fault of this host.

    Of a host without siblings the figures ask for more: on labels of real machines a signature
    alone was wrong too often.
    """
    siblings, levels = found.siblings, found.levels
    lead, sigma = levels.roles[found.lead], (levels.now - levels.usual) / levels.sigma
    as_usual = abs(sigma[found.lead]) < _FAR and abs(levels.columns["now"][found.lead]) < MOVED
    if siblings is None or (siblings.seen and not siblings.few_moved):
        why = "the group's state may be behind it"
    elif not any(role in TRAFFIC for role in levels.roles):
        why = "its own traffic is unknown and may explain the change"
    elif lead in _DRIVEN and DISK.isdisjoint(levels.roles):
        why = "its disk work is unknown, and a job may explain the change"
    elif as_usual:
        why = f"{lead} itself is as usual"
    elif not siblings.seen and prediction.unusual <= 1:
        why = "without siblings it must be out of its own range, too"
    elif not siblings.seen and (prediction.confidence or 0.0) < _SURE_ALONE:
        why = f"without siblings {prediction.confidence:.0%} is not sure enough"
    else:
        return ()
    looks = prediction.kind.value.replace("_", " ")
    text = f"The model takes it for a fault ({looks}), but {why}."
    return (Contribution(role="", sigma=None, text=text),)


def _undecided(version: str, why: str) -> Verdict:
    return Verdict(
        answer=Answer.UNDECIDED,
        score=0.0,
        confidence=None,
        model=version,
        contributions=(Contribution(role="", sigma=None, text=why),),
    )


def _explain_siblings(evidence: Evidence, siblings: Siblings | None) -> tuple[Contribution, ...]:
    if siblings is None:
        if evidence.relative:
            return ()
        problems = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
        text = f"The siblings' metrics are unknown{problems}."
    elif not siblings.seen:
        text = "It has no siblings to compare it with."
    elif not siblings.enough:
        text = f"Only {siblings.compared} of {siblings.seen} siblings have metrics to compare."
    else:
        text = f"{siblings.moved} of {siblings.compared} siblings moved the same way"
        if siblings.few_moved:
            text += "."
        elif siblings.surging:
            text += ", and traffic grew in proportion: the group is overloaded."
        elif not siblings.most_moved:
            text += ": more than one host, but not the whole group."
        elif siblings.surging is None:
            text += ", and whether traffic explains it is unknown."
        else:
            text += " without more traffic: the group fails, not one host."
    return (Contribution(role="", sigma=None, text=text),)


def _explain(prediction: Prediction, found: Features, *, overloaded: bool) -> Contribution:
    looks = f"looks like {prediction.kind.value.replace('_', ' ')}"
    if overloaded:
        text = "The model judges hosts, not groups."
    elif prediction.confidence is not None:
        text = f"The model's probability of an incident is {prediction.confidence:.0%}"
        text += "." if prediction.answer is Answer.REFUTED else f": {looks}."
    else:
        text = f"It {looks}, but it is far from all that the model learned: no probability is told."
    if 1 < prediction.unusual < np.inf:
        text += (
            f" The host is {prediction.unusual:.1f} times as far from its past as usual at most."
        )
    elif jumps(found.vector[None])[0] and not prediction.recurring:
        text += f" It is within its range, but {found.levels.roles[found.lead]} jumped."
    if prediction.recurring:
        on, of = days_alike(found.vector)
        moved = np.flatnonzero(np.abs(found.levels.columns["now"]) >= MOVED)
        roles = ", ".join(sorted(found.levels.roles[row] for row in moved))
        text += f" That is usual at this hour: so it was on {on} of {of} earlier days ({roles})."
    return Contribution(role="", sigma=None, text=text)


def _reasons(levels: Levels, *, relative: bool) -> tuple[Contribution, ...]:
    """The roles farthest from their level at this hour, with the share of days as far from it."""
    sigma = (levels.now - levels.usual) / levels.sigma
    again = levels.columns["again"]
    reasons: list[Contribution] = []
    for row in np.argsort(-np.abs(sigma))[:_SHOWN]:
        if abs(sigma[row]) < _FAR and reasons:
            break
        name = levels.roles[row]
        now, usual = (
            f"{value:.3g}" if relative or name not in ROLES else ROLES[name].text(value)
            for value in (levels.now[row], levels.usual[row])
        )
        text = f"{name} is {now}, usually {usual} ({sigma[row]:+.1f} sigma)"
        if again[row] > 0:
            text += f"; equally far on {again[row]:.0%} of the days"
        reasons.append(Contribution(role=name, sigma=round(float(sigma[row]), 1), text=f"{text}."))
    return tuple(reasons)
