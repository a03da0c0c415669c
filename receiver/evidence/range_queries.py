"""The range queries that evidence is made of: two weeks of the target, its present, its peers."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from models.features.peers import TRAFFIC
from models.features.signals import ROLES, Role
from receiver.evidence.roles.promql import (
    LATEST,
    MEANS,
    first_label,
    of_instance,
    of_siblings,
    query,
    while_scraped,
)
from receiver.evidence.target import Target
from receiver.runtime.rfc3339 import DAY_S

# Seconds of the present that are queried in the finest steps.
LATEST_S = 120
_HISTORY_STEP_S = 300.0
# A second week of these roles is queried, because they show a weekly job.
_WEEKLY = frozenset({"cpu_busy", "disk_util", "net_tx_bytes"})
_ALL = tuple(ROLES.values())
# A sibling needs ten samples of its past, and its present is at most eight seconds old.
_STEPS = range(60, 7, -1)
# The roles by which a target is compared with its peers.
_COMPARED = frozenset({"cpu_busy", "load1", "memory_used_effective", *TRAFFIC})


@dataclass(frozen=True, kw_only=True)
class RangeQuery:
    expr: str
    start: float
    end: float
    step: float


def weekly_roles(roles: Collection[str]) -> frozenset[str]:
    """The roles whose second week is queried for an alert about `roles`."""
    return _WEEKLY | frozenset(roles)


def end_of_history(at: float) -> float:
    """The end of the queried week, on a grid of its step, so that queries repeat for a while."""
    return math.floor(at) // _HISTORY_STEP_S * _HISTORY_STEP_S


def _own(target: Target) -> tuple[str, str]:
    """The target's matchers, and the label of its series that tells hosts apart, if any."""
    if target.series is not None and target.series.own:
        return target.series.own, ""
    return of_instance(target.id or ""), "instance_id"


def plotted(target: Target, roles: Collection[str]) -> str:
    """The latest values of these roles as one query; empty for a target without any of them."""
    try:
        own, by = _own(target)
        return _latest(target, own, by or first_label(own), [ROLES[role] for role in roles])
    except ValueError:
        return ""


def _latest(target: Target, selector: str, by: str, roles: Iterable[Role] = _ALL) -> str:
    """The latest values of roles, while the exporter answers."""
    latest = query(selector, LATEST, roles, by, target.exporter)
    return while_scraped(latest, selector, by, target.exporter)


def past_queries(target: Target, at: float, roles: Collection[str]) -> dict[str, RangeQuery]:
    """Queries `older`, `history` and `recent`. Raises ValueError for a malformed id."""
    selector, by = _own(target)
    # Whole seconds: Prometheus truncates start and end to milliseconds, and a range that is a
    # millisecond short lacks its last step, which is the present.
    moment, last = math.floor(at), end_of_history(at)
    week = last - 7 * DAY_S
    weekly = [role for name, role in ROLES.items() if name in weekly_roles(roles)]
    return {
        "older": RangeQuery(
            expr=query(selector, MEANS, weekly, by, target.exporter),
            start=last - 15 * DAY_S,
            end=week - _HISTORY_STEP_S,
            step=_HISTORY_STEP_S,
        ),
        "history": RangeQuery(
            expr=query(selector, MEANS, _ALL, by, target.exporter),
            start=week,
            end=last,
            step=_HISTORY_STEP_S,
        ),
        "recent": RangeQuery(
            expr=_latest(target, selector, by),
            start=moment - 7_200,
            end=moment - LATEST_S,
            step=15,
        ),
    }


def latest_query(target: Target, at: float, past_until: float | None = None) -> RangeQuery:
    """The query of the present, from the past's end on. Raises ValueError for a malformed id."""
    selector, by = _own(target)
    moment = math.floor(at)
    since = (moment if past_until is None else past_until) - LATEST_S
    # Starts right after the end of the past, a whole number of steps before the present.
    start = moment - (moment - since - 1) // 5 * 5
    return RangeQuery(expr=_latest(target, selector, by), start=start, end=moment, step=5)


def peers_query(target: Target, at: float, roles: Collection[str]) -> RangeQuery:
    """The query of the group's other instances. Raises ValueError for a malformed group or id."""
    if not target.group:
        raise ValueError("the alert names no group")
    selector, by = of_siblings(target.group, target.id or ""), "instance_id"
    if target.where:
        selector = f"{selector},{target.where}"
    if target.series is not None:
        selector, by = target.series.siblings, target.series.label
    moment = math.floor(at)
    compared = [role for name, role in ROLES.items() if name in _COMPARED | frozenset(roles)]
    expr = _latest(target, selector, by, compared)
    step = _step_to(moment)
    return RangeQuery(expr=expr, start=moment - 1_800 // step * step, end=moment, step=step)


def _step_to(moment: int) -> int:
    """The longest step of which the moment is a multiple; else one within which it is present.

    Frontends such as Thanos' move start and end to whole steps.
    """
    return next((step for step in _STEPS if moment % step == 0), _STEPS[-1])
