"""Does acting help? Compares the incidents that waited first with those acted on at once.

Both arms are followed for the time of the wait, so that what is done after it changes neither. A
recovery that did not last counts as none. Times end at the wait: a difference of restricted means.
https://doi.org/10.1186/1471-2288-13-152 (Royston and Parmar 2013)
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, select

from models.intervals import Difference, mean_difference, share_difference
from receiver.db.tables import run_search, runs
from receiver.runs.model import Arm, State

# From this number of incidents in each arm on, the intervals hold.
ENOUGH = 10
_ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.ROLLED_BACK})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An incident, followed for `wait_s`; it recovered after `after_s`, None if not for good."""

    arm: Arm
    wait_s: float
    after_s: float | None

    @property
    def time_s(self) -> float:
        return self.wait_s if self.after_s is None else self.after_s


@dataclass(frozen=True, kw_only=True)
class Lift:
    """What acting brings, against waiting for `wait_s`: counts, and where there are enough, more.

    `recovery` is the difference of the shares that recovered within the wait, `sooner_s` the
    seconds by which acting recovers sooner. Both are None below ten incidents in each arm.
    """

    acted: int
    held: int
    wait_s: float
    recovery: Difference | None = None
    sooner_s: Difference | None = None

    @property
    def harms(self) -> bool:
        """Whether acting is worse than waiting, beyond chance."""
        found = [each for each in (self.recovery, self.sooner_s) if each is not None]
        return any(each.high < 0 for each in found)

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def lift(outcomes: Iterable[Outcome]) -> Lift | None:
    """The lift of the newest length of the wait; None without an incident."""
    known = list(outcomes)
    if not known:
        return None
    wait_s = known[-1].wait_s
    by_arm = {
        arm: [each for each in known if each.arm is arm and each.wait_s == wait_s] for arm in Arm
    }
    acted, held = by_arm[Arm.ACTED], by_arm[Arm.HELD]
    counts = Lift(acted=len(acted), held=len(held), wait_s=wait_s)
    if min(len(acted), len(held)) < ENOUGH:
        return counts
    return Lift(
        **{**vars(counts)}
        | {
            "recovery": share_difference(_recovered(acted), _recovered(held)),
            "sooner_s": mean_difference(
                [each.time_s for each in held], [each.time_s for each in acted], most=wait_s
            ),
        }
    )


def _recovered(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    return sum(each.after_s is not None for each in outcomes), len(outcomes)


def read_outcomes(
    connection: Connection, *, since: float, now: float, playbook: str | None = None
) -> Mapping[str, Sequence[Outcome]]:
    """The outcomes that are known by now, by playbook, oldest first.

    An incident of which nothing can be told, such as one that a person cancelled, is left out.
    """
    query = (
        select(
            runs.c.playbook,
            runs.c.target,
            run_search.c.alertname,
            runs.c.holdout,
            runs.c.state,
            runs.c.steps_begun,
            runs.c.recovered_since,
            runs.c.ended_at,
        )
        .join(run_search, run_search.c.run_id == runs.c.id)
        .where(runs.c.received_at >= since, runs.c.holdout.is_not(None))
        .order_by(runs.c.received_at)
    )
    if playbook is not None:
        query = query.where(runs.c.playbook == playbook)
    rows = connection.execute(query).all()
    again = _received(connection, {row.target for row in rows}, since)
    found: defaultdict[str, list[Outcome]] = defaultdict(list)
    for row in rows:
        assigned = row.holdout
        arm, at, wait_s = Arm(assigned["arm"]), assigned["at"], assigned["wait_s"]
        if now < at + wait_s + assigned["relapse_s"] or not _is_known(row, arm):
            continue
        over_at = _over_at(row, arm)
        lasted = over_at is not None and not any(
            over_at < later <= over_at + assigned["relapse_s"]
            for later in again.get((row.target, row.alertname), ())
        )
        after_s = max(0.0, over_at - at) if over_at is not None and lasted else None
        within = after_s if after_s is not None and after_s < wait_s else None
        found[row.playbook].append(Outcome(arm=arm, wait_s=wait_s, after_s=within))
    return found


def _is_known(row: Any, arm: Arm) -> bool:
    """Whether it is known if the fault ended, and whether by itself."""
    if arm is Arm.HELD:
        return row.steps_begun > 0 or row.recovered_since is not None
    return row.steps_begun > 0 and row.state in _ENDS


def _over_at(row: Any, arm: Arm) -> float | None:
    """When the fault was over, by itself where it was held; None if it went on."""
    if arm is Arm.HELD:
        return None if row.steps_begun else float(row.recovered_since)
    if row.state != State.SUCCEEDED:
        return None
    return float(row.recovered_since or row.ended_at)


def _received(
    connection: Connection, targets: Iterable[str | None], since: float
) -> Mapping[tuple[str, str], Sequence[float]]:
    """When alerts of these targets came, by target and name."""
    query = (
        select(runs.c.target, run_search.c.alertname, runs.c.received_at)
        .join(run_search, run_search.c.run_id == runs.c.id)
        .where(runs.c.target.in_([*filter(None, targets)]), runs.c.received_at >= since)
    )
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in connection.execute(query):
        times[row.target, row.alertname].append(row.received_at)
    return times
