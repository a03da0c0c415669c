"""How many instances may be out of service at once, and how many must stay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, insert, select

from actions.tables import reservations


class Harm(StrEnum):
    BLAST_RADIUS = "blast_radius"
    MIN_HEALTHY = "min_healthy"


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

    def harm(self, target: str, reserved: Collection[str]) -> Harm | None:
        """What taking the target out would do, beside those that others have reserved."""
        acting = {target, *reserved}
        if len(acting) > self.limit:
            return Harm.BLAST_RADIUS
        # What does not serve cannot be taken out of service.
        if target in self.out:
            return None
        out = self.out | acting
        if len(self.members - out) < self.floor:
            return Harm.MIN_HEALTHY
        return Harm.BLAST_RADIUS if len(out) > self.limit else None


def share(percent: float, size: int) -> int:
    """So many percent of a number of instances, and never less than one."""
    return max(1, int(size * percent / 100))


def reserved(connection: Connection, run_id: str) -> Mapping[str, frozenset[str]]:
    """What other runs have reserved, by scope; a scope with nothing reserved is not there."""
    query = select(reservations.c.scope, reservations.c.target)
    found: dict[str, set[str]] = {}
    for scope, target in connection.execute(query.where(reservations.c.run_id != run_id)):
        found.setdefault(scope, set()).add(target)
    return {scope: frozenset(targets) for scope, targets in found.items()}


def reserve(connection: Connection, run_id: str, target: str, scopes: Sequence[str]) -> None:
    mine = (reservations.c.run_id == run_id, reservations.c.target == target)
    connection.execute(delete(reservations).where(*mine))
    rows = [{"run_id": run_id, "target": target, "scope": scope} for scope in scopes]
    if rows:
        connection.execute(insert(reservations), rows)


def release(connection: Connection, *run_ids: str) -> None:
    connection.execute(delete(reservations).where(reservations.c.run_id.in_(run_ids)))
