"""The range queries that evidence is made of: two weeks of the target, its present, its peers."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from models.features.peers import TRAFFIC
from models.features.promql import LATEST, MEANS, of_instance, of_siblings, query, while_scraped
from models.features.signals import ROLES
from receiver.evidence.target import Target
from receiver.runtime.rfc3339 import DAY_S

# How much of the present is queried in the finest steps.
LATEST_S = 120
_HISTORY_STEP_S = 300.0
# The roles that a second week is queried of: a weekly job shows itself in these.
_WEEKLY = frozenset({"cpu_busy", "disk_util", "net_tx_bytes"})
# The roles by which a target is compared with its peers.
_COMPARED = frozenset({"cpu_busy", "load1", "memory_used_effective", *TRAFFIC})


@dataclass(frozen=True, kw_only=True)
class RangeQuery:
    expr: str
    start: float
    end: float
    step: float


def weekly_roles(roles: Collection[str]) -> frozenset[str]:
    """The roles that a second week is queried of, for an alert about `roles`."""
    return _WEEKLY | frozenset(roles)


def end_of_history(at: float) -> float:
    """Where the queried week ends: on a grid of its step, so that it stays the same for a while."""
    return math.floor(at) // _HISTORY_STEP_S * _HISTORY_STEP_S


def past_queries(target_id: str, at: float, roles: Collection[str]) -> dict[str, RangeQuery]:
    """Queries `older`, `history` and `recent`. Raises ValueError for an id that is none."""
    selector = of_instance(target_id)
    # Whole seconds: Prometheus truncates a fraction to milliseconds, start and end unlike, and a
    # range that comes out a millisecond short lacks its last step, which is the present.
    moment, last = math.floor(at), end_of_history(at)
    week = last - 7 * DAY_S
    weekly = [role for name, role in ROLES.items() if name in weekly_roles(roles)]
    return {
        "older": RangeQuery(
            expr=query(selector, MEANS, weekly),
            start=last - 15 * DAY_S,
            end=week - _HISTORY_STEP_S,
            step=_HISTORY_STEP_S,
        ),
        "history": RangeQuery(
            expr=query(selector, MEANS), start=week, end=last, step=_HISTORY_STEP_S
        ),
        "recent": RangeQuery(
            expr=while_scraped(query(selector, LATEST), selector),
            start=moment - 7_200,
            end=moment - LATEST_S,
            step=15,
        ),
    }


def latest_query(target_id: str, at: float, past_until: float | None = None) -> RangeQuery:
    """The present, from where the past ends. Raises ValueError for an id that is none."""
    selector = of_instance(target_id)
    moment = math.floor(at)
    since = (moment if past_until is None else past_until) - LATEST_S
    # Whole steps back from the present, to right after the end of the past.
    start = moment - (moment - since - 1) // 5 * 5
    expr = while_scraped(query(selector, LATEST), selector)
    return RangeQuery(expr=expr, start=start, end=moment, step=5)


def peers_query(target: Target, at: float, roles: Collection[str]) -> RangeQuery:
    """The other instances of the group. Raises ValueError for a group or an id that is none."""
    if not target.group:
        raise ValueError("the alert names no group")
    selector = of_siblings(target.group, target.id or "")
    moment = math.floor(at)
    compared = [role for name, role in ROLES.items() if name in _COMPARED | frozenset(roles)]
    expr = while_scraped(query(selector, LATEST, compared), selector)
    return RangeQuery(expr=expr, start=moment - 1_800, end=moment, step=30)
