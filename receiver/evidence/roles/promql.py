"""PromQL over the roles: selectors of an instance and of its siblings, and one query for all.

Only ids of a known form enter an expression; no other label text does.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template

from models.features.signals import ROLES, Role
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER

_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
# Narrower than AWS allows: without quotes, backslashes, braces and control characters.
_GROUP_NAME = re.compile(r"[A-Za-z0-9_.:/@+=,()~#!%& -]{1,255}")


@dataclass(frozen=True)
class Sampling:
    """The PromQL functions that reduce counters and gauges to a value, and their range."""

    counter: str
    gauge: str
    length: str


# Long enough for two samples of a backfilled past, which has one every 5 minutes.
MEANS = Sampling("rate", "avg_over_time", "10m")
# The last two scrapes: an average would hide a fault that is seconds old. The window holds two
# scrapes of Prometheus' default interval, a minute, wherever it begins.
LATEST = Sampling("irate", "last_over_time", "150s")


def of_instance(instance_id: str) -> str:
    """The label matchers that select one instance. Raises ValueError if the id is malformed."""
    if _INSTANCE_ID.fullmatch(instance_id) is None:
        raise ValueError("the instance id is not of the form i-0123456789abcdef0")
    return f'instance_id="{instance_id}"'


def of_siblings(group: str, instance_id: str) -> str:
    """The label matchers that select a group's other members. Raises ValueError as above."""
    if _GROUP_NAME.fullmatch(group) is None:
        raise ValueError("the group's name has a character that a query may not contain")
    return f'asg="{group}",instance_id!="",{of_instance(instance_id).replace("=", "!=", 1)}'


def query(
    selector: str,
    sampling: Sampling,
    roles: Iterable[Role] = tuple(ROLES.values()),
    by: str = "instance_id",
    exporter: Exporter = NODE_EXPORTER,
) -> str:
    """One expression for all roles of the exporter.

    Its series carry `role` and the label `by` only. `max by`: two scrape jobs for one host must not
    double its traffic. Raises ValueError where the exporter has none of the roles.
    """
    exprs = {role.name: exporter.exprs[role.name] for role in roles if role.name in exporter.exprs}
    if not exprs:
        raise ValueError(f"{exporter.name} has none of these quantities")
    return _union(
        [
            f"label_replace(max by ({by}) ({substitute(expr, selector, sampling)}), "
            f'"role", "{name}", "", "")'
            for name, expr in exprs.items()
        ]
    )


def _union(parts: Sequence[str]) -> str:
    """The parts joined by `or`, as a balanced tree.

    Prometheus hashes both sides of every `or` at each step: in a chain, the first part once for
    every other part.
    """
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_union(parts[:middle])} or {_union(parts[middle:])})"


def first_label(selector: str) -> str:
    """The label of a selector's first matcher, which tells hosts apart."""
    return re.split(r"\W", selector, maxsplit=1)[0]


def while_scraped(
    expr: str, selector: str, by: str = "instance_id", exporter: Exporter = NODE_EXPORTER
) -> str:
    """The expression, limited to moments at which the exporter answered.

    Functions over a range return values for a minute after the last scrape, so a dead host would
    seem alive. An instant selector ends with the failed scrape.
    """
    alive = f"group by ({by}) ({exporter.presence_of(selector)})"
    return f"({expr}) and on ({by}) {alive}"


def substitute(expr: str, selector: str, sampling: Sampling) -> str:
    """The expression of a role for these hosts. Raises KeyError or ValueError for a placeholder."""
    return Template(expr).substitute(
        of=selector,
        window=sampling.length,
        counter=sampling.counter,
        gauge=sampling.gauge,
    )
