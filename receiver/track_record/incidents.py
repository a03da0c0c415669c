"""Merges a playbook's runs into incidents, so that copies of one alert are no evidence.

Runs of one service within an hour of each other are one incident; it is as good as the worst of
them. A right one counts once a day for a target, a wrong one each time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from models.intervals import wilson
from receiver.runs.model import State
from receiver.track_record.comparison import Agreement

_SAME_INCIDENT_S, _DAY_S = 3_600.0, 86_400.0
# A share needs so many incidents before a service alone speaks against all.
_SERVICE_LEAST = 5


class Answer(StrEnum):
    """What became of a run's decision, or what people say of it. The first ones are right."""

    RIGHT = "right"
    HELPED = "helped"
    AGREE = "agree"
    WRONG = "wrong"
    DENIED = "denied"
    FAILED = "failed"
    RELAPSED = "relapsed"
    HEAVIER = "heavier"
    LIGHTER = "lighter"
    NEEDLESS = "needless"
    MISSED = "missed"


RIGHT = frozenset({Answer.RIGHT, Answer.HELPED, Answer.AGREE})
# The service did nothing, and would have done nothing: it counts neither for nor against an act.
_NO_ACT = frozenset({Answer.MISSED})
# The worst of an incident's answers counts.
_WORST = (*(answer for answer in Answer if answer not in RIGHT), *RIGHT)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A run of an alert, with what people or metrics said of it.

    `service` is the group, or the target without one. `marked_right` is a person's mark by
    `marked_by`, `approved` the answer on the plan, `agreement` the comparison with people.
    """

    run_id: str
    playbook: str
    service: str
    target: str
    at: float
    state: State
    acted: bool
    relapsed: bool
    approved: bool | None = None
    marked_right: bool | None = None
    marked_by: str = ""
    agreement: Agreement | None = None

    @property
    def answer(self) -> Answer | None:
        """A person's mark outranks all; then what came of the act; then what people did instead."""
        if self.marked_right is not None:
            return Answer.RIGHT if self.marked_right else Answer.WRONG
        if self.approved is False:
            return Answer.DENIED
        if self.acted:
            if self.relapsed:
                return Answer.RELAPSED
            ends = {State.SUCCEEDED: Answer.HELPED}
            ends |= dict.fromkeys((State.FAILED, State.ROLLED_BACK), Answer.FAILED)
            return ends.get(self.state)
        open_ = self.agreement in {None, Agreement.OPEN}
        return None if open_ else Answer(str(self.agreement))

    @property
    def was_act(self) -> bool:
        """Whether it acted, or a person denied it: what speaks for acting alone."""
        return self.acted or self.approved is False


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Runs of one service at one time. `voucher` is the one person whose mark alone it rests on."""

    playbook: str
    service: str
    at: float
    answer: Answer
    targets: frozenset[str]
    voucher: str = ""


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of the incidents were right, with the 95 % interval of that share."""

    right: int = 0
    incidents: int = 0

    @property
    def low(self) -> float:
        return wilson(self.right, self.incidents)[0]

    @property
    def high(self) -> float:
        return wilson(self.right, self.incidents)[1]


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """The incidents that speak for or against a playbook: in all, by answer and by service."""

    share: Share = Share()
    answers: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, Share] = field(default_factory=dict)

    def services_below(self, least: float) -> Sequence[str]:
        """The services in which the share is below `least`, beyond chance."""
        return [
            name
            for name, share in sorted(self.services.items())
            if share.incidents >= _SERVICE_LEAST and share.high < least
        ]


def agreed(runs: Iterable[Judged], *, vouched_max: int) -> Agreed:
    """Count the incidents of one playbook; one person's marks carry `vouched_max` of them."""
    counted = list(counted_incidents(runs, vouched_max=vouched_max))
    by_service: dict[str, list[Incident]] = {}
    for incident in counted:
        by_service.setdefault(incident.service, []).append(incident)
    return Agreed(
        share=_share(counted),
        answers=Counter(str(incident.answer) for incident in counted),
        services={name: _share(incidents) for name, incidents in by_service.items()},
    )


def counted_incidents(runs: Iterable[Judged], *, vouched_max: int) -> Iterator[Incident]:
    """The incidents that count, oldest first."""
    last: dict[tuple[str, str, str], float] = {}
    vouched = Counter[str]()
    for incident in _incidents(runs):
        keys = [(incident.playbook, incident.service, target) for target in incident.targets]
        if incident.answer in RIGHT:
            new = [key for key in keys if incident.at - last.get(key, float("-inf")) >= _DAY_S]
            if not new or vouched[incident.voucher] >= vouched_max:
                continue
            if incident.voucher:
                vouched[incident.voucher] += 1
            last |= dict.fromkeys(new, incident.at)
        yield incident


def _incidents(runs: Iterable[Judged]) -> Iterator[Incident]:
    open_: dict[tuple[str, str], list[Judged]] = {}
    merged: list[Incident] = []
    for run in sorted(runs, key=lambda run: run.at):
        together = open_.setdefault((run.playbook, run.service), [])
        if together and run.at - together[-1].at > _SAME_INCIDENT_S:
            merged += _merge(together)
            together.clear()
        together.append(run)
    for together in open_.values():
        merged += _merge(together)
    yield from sorted(merged, key=lambda incident: incident.at)


def _merge(runs: Sequence[Judged]) -> Sequence[Incident]:
    """The incident of these runs; none where nothing can be said of any."""
    answers = [(run.answer, run) for run in runs if run.answer is not None]
    if not answers:
        return ()
    worst = min((answer for answer, _ in answers), key=_WORST.index)
    by = {run.marked_by if answer is Answer.RIGHT else "" for answer, run in answers}
    return [
        Incident(
            playbook=runs[0].playbook,
            service=runs[0].service,
            at=runs[0].at,
            answer=worst,
            targets=frozenset(run.target for run in runs),
            voucher=by.pop() if len(by) == 1 else "",
        )
    ]


def _share(incidents: Iterable[Incident]) -> Share:
    told = [incident.answer for incident in incidents if incident.answer not in _NO_ACT]
    return Share(right=sum(answer in RIGHT for answer in told), incidents=len(told))
