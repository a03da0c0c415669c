"""How many instances may be out of service at once, and how many must stay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from actions.aws import context, inventory
from actions.aws.clients import Aws
from actions.aws.inventory import Group
from actions.reasons import Reason
from actions.tables import reservations

# Lifecycle states of members that are leaving their group for good.
_LEAVING = ("Terminating", "Terminated", "Detach")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much of a group may be out of service at once.

    `percent` of its instances, and never less than one; `min_healthy` instances must stay, by
    default the group's own minimum.
    """

    percent: float = 10.0
    min_healthy: int | None = None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Instances that are counted together: of a group, of one of its zones, of a target group.

    `out` are members that AWS does not count as serving. At most `limit` may be out after an act,
    and at least `floor` must serve.
    """

    name: str
    members: frozenset[str]
    out: frozenset[str]
    limit: int
    floor: int

    def harm(self, target: str, reserved: Collection[str]) -> Reason | None:
        """Why the target may not leave service while others reserve `reserved`, or None."""
        acting = {target, *reserved}
        if len(acting) > self.limit:
            return Reason.BLAST_RADIUS
        # An instance out of service cannot be taken out again.
        if target in self.out:
            return None
        out = self.out | acting
        if len(self.members - out) < self.floor:
            return Reason.MIN_HEALTHY
        return Reason.BLAST_RADIUS if len(out) > self.limit else None


def share(percent: float, size: int) -> int:
    """The percentage of `size` instances, and never less than one."""
    return max(1, int(size * percent / 100))


def read_scopes(aws: Aws, target: str, group: str, bounds: Bounds) -> Sequence[Scope]:
    """The scopes that count the instance, read from AWS; none for an instance without a group.

    Raises NotActionableError or botocore's errors: an unknown scope is never guessed.
    """
    if not group:
        return ()
    asg = inventory.read_group(aws, group)
    health = {arn: context.read_target_health(aws, arn) for arn in asg.target_groups}
    return scopes_of(target, asg, bounds, health)


def scopes_of(
    target: str,
    group: Group,
    bounds: Bounds,
    health: Mapping[str, tuple[frozenset[str], frozenset[str]]],
) -> Sequence[Scope]:
    """The scopes of a member; `health` has the registered and the healthy, by target group."""
    members = {
        member.id: member
        for member in group.members.values()
        if not member.lifecycle.startswith(_LEAVING)
    }
    out = frozenset(member.id for member in members.values() if not member.serves)
    floor = group.minimum if bounds.min_healthy is None else bounds.min_healthy
    scopes = [_scope(f"group {group.name}", frozenset(members), out, bounds, floor)]
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


def _scope(
    name: str, members: frozenset[str], out: frozenset[str], bounds: Bounds, floor: int
) -> Scope:
    limit = share(bounds.percent, len(members))
    return Scope(name=name, members=members, out=out, limit=limit, floor=floor)


def reserved_by_others(connection: Connection, run_id: str) -> Mapping[str, frozenset[str]]:
    """Targets that other runs have reserved, by scope; a scope without any is left out."""
    query = select(reservations.c.scope, reservations.c.target)
    reserved: dict[str, set[str]] = {}
    for scope, target in connection.execute(query.where(reservations.c.run_id != run_id)):
        reserved.setdefault(scope, set()).add(target)
    return {scope: frozenset(targets) for scope, targets in reserved.items()}


def reserve(connection: Connection, run_id: str, target: str, scopes: Sequence[str]) -> None:
    key = (reservations.c.run_id == run_id, reservations.c.target == target)
    connection.execute(delete(reservations).where(*key))
    rows = [{"run_id": run_id, "target": target, "scope": scope} for scope in scopes]
    if rows:
        connection.execute(insert(reservations), rows)


def release(connection: Connection, *run_ids: str) -> None:
    connection.execute(delete(reservations).where(reservations.c.run_id.in_(run_ids)))
