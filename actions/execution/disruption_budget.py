"""How many instances may be out of service at once, and how many must stay."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, insert, select

from actions.aws import target_health
from actions.aws.client_set import Aws
from actions.aws.groups import Group, read_group
from actions.aws.instances import Instance, read_standalone
from actions.aws.target_errors import NotActionableError
from actions.driver import Statement
from actions.execution.records import Bounds, Scope, share
from actions.place import Place
from actions.tables import is_at_given, reservations

# Lifecycle states of members that leave their group for good.
_LEAVING = ("Terminating", "Terminated", "Detach")


class LeftGroupError(NotActionableError):
    """The instance is no longer in its group, which therefore does not replace it."""


def read_scopes(
    aws: Aws, target: str, group: str, bounds: Bounds, standalone_percent: float
) -> Sequence[Scope]:
    """The scopes that count the instance, read from AWS.

    Raises LeftGroupError, NotActionableError or botocore's errors: an unknown scope is never
    guessed.
    """
    if not group:
        return [standalone_scope(read_standalone(aws), standalone_percent)]
    return read_group_scopes(aws, target, read_group(aws, group), bounds)


def read_group_scopes(aws: Aws, target: str, asg: Group, bounds: Bounds) -> Sequence[Scope]:
    """As `read_scopes`, of a member of a group that was just read."""
    if target not in asg.members:
        raise LeftGroupError(f"{target} has left the group {asg.name} since the decision")
    health = {arn: target_health.read_target_health(aws, arn) for arn in asg.target_groups}
    return scopes_of(target, asg, bounds, health)


def group_scope(group: str) -> str:
    """The name of the scope of all members of the group."""
    return f"group {group}"


def scopes_of(
    target: str,
    group: Group,
    bounds: Bounds,
    health: Mapping[str, tuple[frozenset[str], frozenset[str]]],
) -> Sequence[Scope]:
    """The scopes of a member; `health` has the registered and the healthy, by target group.

    Whom a target group finds ill does not serve in the group and the zone either, whatever the
    group's own checks say. The target itself is only what the group says it is.
    """
    members = {
        member.id: member
        for member in group.members.values()
        if not member.lifecycle.startswith(_LEAVING)
    }
    ill = frozenset[str]().union(*(registered - healthy for registered, healthy in health.values()))
    out = frozenset(
        member.id
        for member in members.values()
        if not member.serves or (member.id in ill and member.id != target)
    )
    whole = _scope(
        group_scope(group.name), frozenset(members), out, bounds, bounds.min_healthy or 0
    )
    if bounds.min_healthy is None:
        # The group's own minimum is in units, where its instances have weights.
        units = {member.id: member.units for member in members.values() if group.largest_units > 1}
        whole = replace(whole, floor=group.minimum, units=units)
    scopes = [whole]
    if target in members:
        zone = members[target].az
        in_zone = frozenset(member.id for member in members.values() if member.az == zone)
        name = f"zone {zone} of {group.name}"
        scopes.append(_scope(name, in_zone, out & in_zone, bounds, min(1, len(in_zone) - 1)))
    for arn, (registered, healthy) in health.items():
        if target in registered:
            floor, name = min(1, len(registered) - 1), f"target group {arn}"
            scopes.append(_scope(name, registered, registered - healthy, bounds, floor))
    return scopes


def standalone_scope(instances: Sequence[Instance], percent: float) -> Scope:
    """The scope of all opted-in instances outside groups, none of which AWS replaces."""
    members = frozenset(instance.id for instance in instances)
    out = frozenset(instance.id for instance in instances if instance.state != "running")
    return Scope(
        name="instances outside groups",
        members=members,
        out=out,
        limit=share(percent, len(members)),
        floor=0,
    )


def _scope(
    name: str, members: frozenset[str], out: frozenset[str], bounds: Bounds, floor: int
) -> Scope:
    limit = share(bounds.percent, len(members))
    return Scope(name=name, members=members, out=out, limit=limit, floor=floor)


_OF_OTHERS = Statement(
    select(reservations.c.scope, reservations.c.target).where(
        is_at_given(reservations), reservations.c.run_id != bindparam("run_id")
    )
)


def reserved_by_others(
    connection: Connection, place: Place, run_id: str
) -> Mapping[str, frozenset[str]]:
    """Targets that other runs have reserved in the place, by scope, without empty scopes."""
    reserved: dict[str, set[str]] = {}
    for row in _OF_OTHERS.rows(connection, {**vars(place), "run_id": run_id}):
        reserved.setdefault(row["scope"], set()).add(row["target"])
    return {scope: frozenset(targets) for scope, targets in reserved.items()}


_FORGET = Statement(
    delete(reservations).where(
        reservations.c.run_id == bindparam("of"), reservations.c.target == bindparam("from")
    )
)
_RESERVE = insert(reservations)
_RELEASE = Statement(
    delete(reservations).where(reservations.c.run_id.in_(bindparam("run_ids", expanding=True)))
)


def reserve(
    connection: Connection, place: Place, run_id: str, target: str, scopes: Sequence[str]
) -> None:
    _FORGET.count(connection, {"of": run_id, "from": target})
    of_run = {**vars(place), "run_id": run_id, "target": target}
    rows = [{**of_run, "scope": scope} for scope in scopes]
    if rows:
        connection.execute(_RESERVE, rows)


def release(connection: Connection, *run_ids: str) -> None:
    _RELEASE.count(connection, {"run_ids": [*run_ids]})
