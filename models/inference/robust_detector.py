"""The first detector: robust deviations from the target's own past, and its group's present.

Being anomalous is not being actionable: a traffic surge and a nightly job are anomalous too. So
the size of a deviation only opens the case. What closes it is whether the same happened at this
hour on earlier days, whether the siblings moved, and whether traffic explains it. Nothing here
is learned or calibrated, so a verdict carries no confidence.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from models.features.evidence import Evidence
from models.features.peers import Siblings, compare
from models.features.recurrence import DAYS_AT_LEAST, Recurrence, recurrence
from models.features.residuals import DAY_S, DISK, STALE_S, Departure, Past, departures, past
from models.inference.verdict import Answer, Contribution, Verdict

MODEL = "robust-z/1"
# Roles on which one host can be told to be at fault, and that a remediation can bring down.
_LEADS = ("cpu_busy", "load1", "memory_used_effective")
# What counts as far up against the target's own past.
_FAR_Z = 6.0
_FAR_SHARE = 0.9
_MOST = 0.6
_FEW = 1 / 3
_HALF_SCORE_Z = 4.0
_SHOWN = 5


@dataclass(frozen=True)
class _Finding:
    """An answer with the sentence behind it. `weight` scales the score of a given deviation."""

    answer: Answer
    weight: float
    why: str
    lead: Departure | None = None
    siblings: Siblings | None = None
    surging: bool | None = None


def judge(evidence: Evidence, roles: Collection[str] = ()) -> Verdict:
    """Whether a remediation would help the target of an alert.

    `roles` are those that the alert speaks of (`models.roles.ROLES_OF_ALERT`); without them
    every role is looked at, and nothing having moved means nothing at all. Pure: the same
    evidence gives the same verdict, and nothing later than `evidence.at` takes part.
    """
    before = past(evidence.history or {}, evidence.at)
    known = departures(before, evidence.recent or {}, evidence.at)
    missing = _missing(evidence, before, known, roles or ("cpu_busy",))
    if missing is not None:
        finding = _Finding(Answer.UNDECIDED, 0.0, missing)
        return replace(_verdict(finding, known), lacking=True)
    return _verdict(_on_target(evidence, before, known, frozenset(roles)), known)


def _missing(
    evidence: Evidence, before: Past, known: Mapping[str, Departure], needed: Iterable[str]
) -> str | None:
    """What is lacking for any answer, or None."""
    told = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
    if evidence.recent is None:
        return f"The target's present is unknown{told}."
    if evidence.history is None:
        return f"The target's past is unknown{told}."
    for role in needed:
        if role not in known and before.covered_s(role) > 0:
            return f"No sample of {role} in the last {STALE_S:.0f} s: the target does not answer."
        if before.covered_s(role) < DAY_S:
            hours = before.covered_s(role) / 3600
            return f"Only {hours:.0f} h of {role} are known, less than a day: no telling usual."
    return None


def _on_target(
    evidence: Evidence, before: Past, known: Mapping[str, Departure], asked: frozenset[str]
) -> _Finding:
    scope = [known[role] for role in asked or known]
    if all(one.normal for one in scope):
        names = ", ".join(sorted(one.role.name for one in scope))
        why = f"Nothing is out of its usual range at this hour: {names}."
        most = max(scope, key=lambda one: abs(one.z))
        return _Finding(Answer.REFUTED, 0.1, why, most)
    risen = {role: one for role, one in known.items() if one.direction > 0}
    leads = [risen[role] for role in asked or _LEADS if role in risen]
    if not leads:
        why = "Something has moved, but not in a way that this detector can tell apart."
        return _undecided(why, max(scope, key=lambda one: abs(one.z)))
    lead = max(leads, key=lambda one: one.z)
    again = recurrence(before, risen, known, asked)
    if again.usual:
        return _Finding(Answer.REFUTED, 0.25, _usual(lead, risen, again), lead)
    finding = _in_group(evidence, known, lead)
    if again.with_disk_work >= DAYS_AT_LEAST:
        also = f"The job of {again.with_disk_work} earlier days at this hour works the disks too."
        return replace(finding, why=f"{finding.why} {also}")
    return finding


def _in_group(
    evidence: Evidence,
    known: Mapping[str, Departure],
    lead: Departure,
) -> _Finding:
    if evidence.peers is None:
        told = f" ({'; '.join(evidence.problems)})" if evidence.problems else ""
        return _undecided(f"Whether the siblings moved too is unknown{told}.", lead)
    siblings = compare(evidence.peers, known, lead, evidence.at)
    if siblings.compared == 0 or 2 * siblings.compared < siblings.seen:
        why = f"Only {siblings.compared} of {siblings.seen} siblings can be compared with."
        return _undecided(why, lead, siblings)
    share = siblings.moved / siblings.compared
    if share >= _MOST:
        return _whole_group(siblings, lead)
    if share > _FEW:
        why = f"{_counted(siblings)}: neither one host alone nor the whole group."
        return _undecided(why, lead, siblings)
    return _one_host(siblings, known, lead)


def _whole_group(siblings: Siblings, lead: Departure) -> _Finding:
    if siblings.target_busier is None or 2 * siblings.traffic_known < siblings.compared:
        why = f"{_counted(siblings)}, but whether the group carries more traffic is unknown."
        return _undecided(why, lead, siblings)
    if siblings.target_busier and siblings.busier >= _MOST * siblings.traffic_known:
        why = f"{_counted(siblings)}, and traffic grew in proportion: the group is overloaded."
        return _Finding(Answer.CONFIRMED, 0.9, why, lead, siblings, surging=True)
    why = f"{_counted(siblings)} without more traffic: a failure of the group, no host's own."
    return _undecided(why, lead, siblings, surging=False)


def _one_host(siblings: Siblings, known: Mapping[str, Departure], lead: Departure) -> _Finding:
    if siblings.target_busier is None:
        why = "Whether the target's own traffic explains it is unknown."
    elif siblings.target_busier:
        why = f"{_counted(siblings)}, but the target's own traffic grew in proportion."
    elif not any(role in known for role in DISK):
        why = "Whether a job is at work is unknown: nothing is known of the disks."
    elif any(role in known and known[role].direction > 0 for role in DISK):
        why = "Disk work rose with it, as for a job; none was seen at this hour before."
    elif lead.role.name not in _LEADS:
        why = f"{lead.role.name} has risen, of which this detector cannot tell what would help."
    elif lead.z < _FAR_Z or lead.share_below < _FAR_SHARE:
        why = f"{lead.role.name} is up, but not far beyond the target's own past."
    else:
        why = f"{_counted(siblings)} and no traffic or disk work explains it: this host alone."
        return _Finding(Answer.CONFIRMED, 1.0, why, lead, siblings, surging=False)
    return _undecided(why, lead, siblings, surging=False)


def _undecided(
    why: str, lead: Departure, siblings: Siblings | None = None, *, surging: bool | None = None
) -> _Finding:
    return _Finding(Answer.UNDECIDED, 0.6, why, lead, siblings, surging)


def _verdict(finding: _Finding, known: Mapping[str, Departure]) -> Verdict:
    lead = finding.lead
    strongest = sorted(known.values(), key=lambda one: (one is not lead, -abs(one.z)))
    told = [one for one in strongest if one is lead or one.direction != 0][:_SHOWN]
    reason = Contribution(role=lead.role.name if lead else "", sigma=None, text=finding.why)
    z = max(0.0, lead.z) if lead else max((abs(one.z) for one in known.values()), default=0.0)
    return Verdict(
        answer=finding.answer,
        score=finding.weight * z / (z + _HALF_SCORE_Z),
        confidence=None,
        model=MODEL,
        contributions=(reason, *(_told(one) for one in told)),
        peers=finding.siblings.compared if finding.siblings else None,
        peers_moved=finding.siblings.moved if finding.siblings else None,
        surging=finding.surging,
    )


def _told(one: Departure) -> Contribution:
    role = one.role
    text = f"{role.name} is {role.text(one.now)}, usually {role.text(one.usual)}"
    return Contribution(role=role.name, sigma=round(one.z, 1), text=f"{text} ({one.z:+.1f} sigma).")


def _usual(lead: Departure, risen: Mapping[str, Departure], again: Recurrence) -> str:
    others = [one for one in sorted(risen) if one not in (lead.role.name, "load1")]
    too = f", {' and '.join(others)} too" if others else ""
    return (
        f"{lead.role.name} at {lead.role.text(lead.now)} is usual at this hour: "
        f"so it was on {again.alike} of {again.days} earlier days{too}."
    )


def _counted(siblings: Siblings) -> str:
    return f"{siblings.moved} of {siblings.compared} siblings moved the same way"
