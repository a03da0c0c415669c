"""The bounds that earn a playbook a higher mode, and that take it away again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from receiver.controls.records import ALL, Arming
from receiver.settings import Mode, Settings
from receiver.track_record.record import TrackRecord

# At most so many of the recoveries may not have lasted; a single one is chance.
_RELAPSES_ONE_OF, _RELAPSES_CHANCE = 5, 1
# Fewer incidents do not speak against a mode that was not earned.
_AGAINST_LEAST = 5
_HARMS = "the hold-outs show that acting is worse than waiting"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """`agreement` is the least lower bound (95 %) of the share of right incidents, of `incidents`.

    `errors` is the number of acts that may go wrong in a service in a week; 0 is any number.
    """

    agreement: float
    incidents: int
    errors: int

    @property
    def vouched_max(self) -> int:
        """So many of the incidents may rest on the marks of one person."""
        return max(1, self.incidents // 2)


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(
        agreement=settings.arming_agreement,
        incidents=settings.arming_evidence,
        errors=settings.error_budget,
    )


def unmet(mode: Mode, service: str, record: TrackRecord, bounds: Bounds) -> Iterator[str]:
    """The bounds that the record does not meet for this mode, as sentences."""
    acting = mode is Mode.AUTO
    agreed, what = (
        (record.acted, "incidents in which it acted with a known result (verified recoveries)")
        if acting
        else (record.decided, "observed incidents with a known answer of people")
    )
    share, least = agreed.share, bounds.agreement
    if share.incidents < bounds.incidents:
        yield f"{share.incidents} {what}, and {bounds.incidents} are needed"
    if share.low < least:
        yield (
            f"{share.right} of {share.incidents} incidents were right: the lower 95 % bound is "
            f"{share.low:.2f}, and {least:g} is needed"
        )
    for name in agreed.services_below(least) if service == ALL else ():
        of_service = agreed.services[name]
        yield f"in {name} only {of_service.right} of {of_service.incidents} incidents were right"
    if acting and record.relapsed * _RELAPSES_ONE_OF > record.recovered:
        yield _relapses(record)
    if acting and record.harmed:
        yield f"people marked {len(record.harmed)} of its acts as wrong"
    if acting and record.lift is not None and record.lift.harms:
        yield _HARMS


def crossed(arming: Arming, record: TrackRecord, bounds: Bounds) -> str | None:
    """Why the armed playbook has lost its mode; None while it keeps it.

    A mode that was earned is lost when the bound that earned it is no longer met. One that was not
    (by force, or before bounds were asked) is lost when the record speaks against it: the upper
    bound is below what is needed.
    """
    acting = arming.mode is Mode.AUTO
    share, least = (record.acted if acting else record.decided).share, bounds.agreement
    earned = bool(arming.figures.get("earned"))
    kind, bound = ("lower", share.low) if earned else ("upper", share.high)
    if bound < least and (earned or share.incidents >= _AGAINST_LEAST):
        return (
            f"{share.right} of {share.incidents} incidents were right: the {kind} 95 % bound is "
            f"{bound:.2f}, below {least:g}"
        )
    if any(at >= arming.since for at in record.harmed):
        return "people marked an act as wrong"
    if acting and record.lift is not None and record.lift.harms:
        return _HARMS
    often = record.relapsed > _RELAPSES_CHANCE
    if acting and often and record.relapsed * _RELAPSES_ONE_OF > record.recovered:
        return _relapses(record)
    return None


def spent(errors: Sequence[float], bounds: Bounds, since: float) -> str | None:
    """Why a service's budget of errors is spent; those before `since` do not count."""
    counted = sum(at >= since for at in errors)
    if not bounds.errors or counted < bounds.errors:
        return None
    return (
        f"{counted} acts of a week did not help, did not last, or were marked wrong "
        f"(budget: {bounds.errors})"
    )


def _relapses(record: TrackRecord) -> str:
    return (
        f"{record.relapsed} of {record.recovered} recoveries did not last "
        f"(allowed: 1 in {_RELAPSES_ONE_OF})"
    )
