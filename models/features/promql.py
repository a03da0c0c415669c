"""PromQL over the roles: selectors of an instance and of its siblings, and one query for all.

Only ids of a known form enter an expression; other text of a label never does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template

from models.features.signals import ROLES, Role

_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
# Narrower than AWS allows: no quote, backslash, brace or control character gets through.
_GROUP_NAME = re.compile(r"[A-Za-z0-9_.:/@+=,() -]{1,255}")


@dataclass(frozen=True)
class Sampling:
    """How samples become a value: the PromQL functions for counters and gauges, and the range."""

    counter: str
    gauge: str
    length: str


# Two samples at least, also where a backfilled past has one only every 5 minutes.
MEANS = Sampling("rate", "avg_over_time", "10m")
# The last two scrapes: an average over a minute would hide a fault that is seconds old.
LATEST = Sampling("irate", "last_over_time", "1m")


def of_instance(instance_id: str) -> str:
    """The label matchers that select one instance. Raises ValueError on another form of id."""
    if _INSTANCE_ID.fullmatch(instance_id) is None:
        raise ValueError("the instance id is not of the form i-0123456789abcdef0")
    return f'instance_id="{instance_id}"'


def of_siblings(group: str, instance_id: str) -> str:
    """The label matchers that select a group's other members. Raises ValueError as above."""
    if _GROUP_NAME.fullmatch(group) is None:
        raise ValueError("the group's name has characters that do not enter a query")
    return f'asg="{group}",instance_id!="",{of_instance(instance_id).replace("=", "!=", 1)}'


def query(selector: str, sampling: Sampling, roles: Iterable[Role] = tuple(ROLES.values())) -> str:
    """One expression for all roles; its series carry `role` and `instance_id` only.

    `max by`: two scrape jobs for one host must not double its traffic.
    """
    parts = (
        f"label_replace(max by (instance_id) ({_substitute(role.expr, selector, sampling)}), "
        f'"role", "{role.name}", "", "")'
        for role in roles
    )
    return " or ".join(parts)


def while_scraped(expr: str, selector: str) -> str:
    """The expression only at moments when the exporter answered.

    Functions over a range have values for a minute after a host stopped answering: the last values
    of a dead host would count as its present ones. An instant selector ends with the failed scrape.
    """
    alive = f'group by (instance_id) (node_cpu_seconds_total{{mode="idle",{selector}}})'
    return f"({expr}) and on (instance_id) {alive}"


def _substitute(expr: str, selector: str, sampling: Sampling) -> str:
    return Template(expr).substitute(
        of=selector,
        window=sampling.length,
        counter=sampling.counter,
        gauge=sampling.gauge,
    )
