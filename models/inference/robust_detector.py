"""A detector without a model: robust deviations from the target's past and its group's present.

An anomaly alone is not an incident: a traffic surge and a nightly job are anomalies too. A verdict
therefore depends on earlier days at this hour, on the siblings, and on traffic. No parameter is
learned or calibrated, so a verdict has no confidence.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from models.features.evidence import Evidence
from models.features.peers import PeerComparison, compare_peers
from models.features.recurrence import DAYS_AT_LEAST, Recurrence, count_recurrence
from models.features.residuals import DAY_S, DISK, STALE_S, PastGrid, Residual, past, residuals
from models.inference.verdict import Answer, Contribution, Verdict

MODEL = "robust-z/1"
# Roles that show the fault of one host, and that a remediation can lower.
_LEADS = ("cpu_busy", "load1", "memory_used_effective")
# From this deviation on a role is far above the target's own past.
_FAR_Z = 6.0
_FAR_SHARE = 0.9
_MOST = 0.6
_FEW = 1 / 3
_HALF_SCORE_Z = 4.0
_SHOWN = 5


@dataclass(frozen=True)
class _Finding:
    """An answer with its reason. `weight` scales the score of a given deviation."""

    answer: Answer
    weight: float
    why: str
    lead: Residual | None = None
    siblings: PeerComparison | None = None
    surging: bool | None = None
    recurring: bool = False
    unexplained: bool = False


def judge(evidence: Evidence, roles: Collection[str] = ()) -> Verdict:
    """Decide whether a remediation would help the target of an alert.

    `roles` are the alert's (`ROLES_OF_ALERT` in `models.features.signals`); without them every role
    is compared. Pure: the same evidence gives the same verdict, and samples after `evidence.at`
    have no effect.
    """
    before = past(evidence.history or {}, evidence.at)
    by_role = residuals(before, evidence.recent or {}, evidence.at)
    missing = _missing(evidence, before, by_role, roles or ("cpu_busy",))
    if missing is not None:
        finding = _Finding(Answer.UNDECIDED, 0.0, missing)
        return replace(_verdict(finding, by_role), lacking=True)
    return _verdict(_on_target(evidence, before, by_role, frozenset(roles)), by_role)


def _missing(
    evidence: Evidence, before: PastGrid, by_role: Mapping[str, Residual], needed: Iterable[str]
) -> str | None:
    """The sentence about missing evidence, or None if it suffices."""
    problems = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
    if evidence.recent is None:
        return f"The target's current metrics are unknown{problems}."
    if evidence.history is None:
        return f"The target's past metrics are unknown{problems}."
    for role in needed:
        if role not in by_role and before.covered_s(role) > 0:
            return f"No sample of {role} in the last {STALE_S:.0f} s: the target does not answer."
        if before.covered_s(role) < DAY_S:
            hours = before.covered_s(role) / 3600
            return f"Prometheus has only {hours:.0f} h of {role}; a usual level needs 24 h."
    return None


def _on_target(
    evidence: Evidence,
    before: PastGrid,
    by_role: Mapping[str, Residual],
    alert_roles: frozenset[str],
) -> _Finding:
    scope = [by_role[role] for role in alert_roles or by_role]
    if all(residual.normal for residual in scope):
        names = ", ".join(sorted(residual.role.name for residual in scope))
        why = f"These metrics are in their usual range for this hour: {names}."
        most = max(scope, key=lambda residual: abs(residual.z))
        return _Finding(Answer.REFUTED, 0.1, why, most)
    risen = {role: residual for role, residual in by_role.items() if residual.direction > 0}
    leads = [risen[role] for role in alert_roles or _LEADS if role in risen]
    if not leads:
        return _in_no_known_pattern(evidence, by_role, scope)
    lead = max(leads, key=lambda residual: residual.z)
    recurring = count_recurrence(before, risen, by_role, alert_roles)
    if recurring.usual:
        why = _describe_usual(lead, risen, recurring)
        return _Finding(Answer.REFUTED, 0.25, why, lead, recurring=True)
    finding = _in_group(evidence, by_role, lead)
    if recurring.with_disk_work >= DAYS_AT_LEAST:
        also = f"On {recurring.with_disk_work} earlier days a job at this hour also did disk work."
        return replace(finding, why=f"{finding.why} {also}")
    return finding


def _in_no_known_pattern(
    evidence: Evidence, by_role: Mapping[str, Residual], scope: Iterable[Residual]
) -> _Finding:
    """Something moved, but no lead has risen: the siblings are counted, and the model decides."""
    why = "A metric has moved, but not in a pattern that the comparison knows"
    lead = max(scope, key=lambda residual: (residual.direction != 0, abs(residual.z)))
    if evidence.peers is None or lead.direction == 0:
        return _undecided(f"{why}.", lead)
    if not evidence.peers:
        return replace(_undecided(f"{why}.", lead), unexplained=True)
    siblings = compare_peers(evidence.peers, by_role, lead, evidence.at)
    if not _enough(siblings):
        return _undecided(f"{why}.", lead)
    return _undecided(f"{why}. {_counted(siblings)}.", lead, siblings)


def _enough(siblings: PeerComparison) -> bool:
    return siblings.compared > 0 and 2 * siblings.compared >= siblings.seen


def _in_group(
    evidence: Evidence,
    by_role: Mapping[str, Residual],
    lead: Residual,
) -> _Finding:
    if evidence.peers is None:
        problems = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
        return _undecided(f"The siblings' metrics are unknown{problems}.", lead)
    siblings = compare_peers(evidence.peers, by_role, lead, evidence.at)
    if not siblings.seen:
        return _lone_host(siblings, by_role, lead)
    if not _enough(siblings):
        why = f"Only {siblings.compared} of {siblings.seen} siblings have metrics to compare."
        return _undecided(why, lead, siblings)
    share = siblings.moved / siblings.compared
    if share >= _MOST:
        return _whole_group(siblings, lead)
    if share > _FEW:
        why = f"{_counted(siblings)}: more than one host, but not the whole group."
        return _undecided(why, lead, siblings)
    return _one_host(siblings, by_role, lead)


def _whole_group(siblings: PeerComparison, lead: Residual) -> _Finding:
    if siblings.target_busier is None or 2 * siblings.traffic_known < siblings.compared:
        why = f"{_counted(siblings)}, but the group's traffic is unknown."
        return _undecided(why, lead, siblings)
    if siblings.target_busier and siblings.busier >= _MOST * siblings.traffic_known:
        why = f"{_counted(siblings)}, and traffic grew in proportion: the group is overloaded."
        return _Finding(Answer.CONFIRMED, 0.9, why, lead, siblings, surging=True)
    why = f"{_counted(siblings)} without more traffic: the group fails, not one host."
    return _undecided(why, lead, siblings, surging=False)


def _one_host(
    siblings: PeerComparison, by_role: Mapping[str, Residual], lead: Residual
) -> _Finding:
    if siblings.target_busier is None:
        why = "The target's own traffic is unknown, so it may explain the change."
    elif siblings.target_busier:
        why = f"{_counted(siblings)}, but the target's own traffic grew in proportion."
    elif not any(role in by_role for role in DISK):
        why = "Disk work is unknown, so a job may explain the change."
    elif any(role in by_role and by_role[role].direction > 0 for role in DISK):
        why = (
            "Disk work rose too, as it does for a job, but no job ran at this hour on earlier days."
        )
    elif lead.role.name not in _LEADS:
        why = f"{lead.role.name} has risen, and no known remedy lowers it."
    elif lead.z < _FAR_Z or lead.share_below < _FAR_SHARE:
        why = f"{lead.role.name} is up, but not far beyond the target's own past."
    else:
        why = (
            f"{_counted(siblings)} and no traffic or disk work explains it: this host is at fault."
        )
        return _Finding(Answer.CONFIRMED, 1.0, why, lead, siblings, surging=False)
    return _undecided(why, lead, siblings, surging=False)


def _lone_host(nobody: PeerComparison, by_role: Mapping[str, Residual], lead: Residual) -> _Finding:
    """Never confirmed here: whether a fault is left as the only cause is for the model to use."""
    finding = _one_host(nobody, by_role, lead)
    if finding.answer is not Answer.CONFIRMED:
        return replace(finding, siblings=None)
    return replace(_undecided(f"{_counted(nobody)}.", lead), unexplained=True)


def _undecided(
    why: str, lead: Residual, siblings: PeerComparison | None = None, *, surging: bool | None = None
) -> _Finding:
    return _Finding(Answer.UNDECIDED, 0.6, why, lead, siblings, surging)


def _verdict(finding: _Finding, by_role: Mapping[str, Residual]) -> Verdict:
    lead = finding.lead
    strongest = sorted(by_role.values(), key=lambda each: (each is not lead, -abs(each.z)))
    moved = [residual for residual in strongest if residual is lead or residual.direction != 0]
    reason = Contribution(role=lead.role.name if lead else "", sigma=None, text=finding.why)
    sizes = (abs(residual.z) for residual in by_role.values())
    z = max(0.0, lead.z) if lead else max(sizes, default=0.0)
    return Verdict(
        answer=finding.answer,
        score=finding.weight * z / (z + _HALF_SCORE_Z),
        confidence=None,
        model=MODEL,
        contributions=(reason, *(_describe(residual) for residual in moved[:_SHOWN])),
        peers=finding.siblings.compared if finding.siblings else None,
        peers_moved=finding.siblings.moved if finding.siblings else None,
        surging=finding.surging,
        recurring=finding.recurring,
        unexplained=finding.unexplained,
    )


def _describe(residual: Residual) -> Contribution:
    role = residual.role
    text = f"{role.name} is {role.text(residual.now)}, usually {role.text(residual.usual)}"
    return Contribution(
        role=role.name, sigma=round(residual.z, 1), text=f"{text} ({residual.z:+.1f} sigma)."
    )


def _describe_usual(lead: Residual, risen: Mapping[str, Residual], recurring: Recurrence) -> str:
    others = [role for role in sorted(risen) if role not in (lead.role.name, "load1")]
    too = f", {' and '.join(others)} too" if others else ""
    return (
        f"{lead.role.name} at {lead.role.text(lead.now)} is usual at this hour: "
        f"so it was on {recurring.alike} of {recurring.days} earlier days{too}."
    )


def _counted(siblings: PeerComparison) -> str:
    if not siblings.seen:
        return "It has no siblings to compare it with"
    return f"{siblings.moved} of {siblings.compared} siblings moved the same way"
