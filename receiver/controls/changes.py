"""Changes that others announce, such as a deploy: kept in the audit, newest by group.

An alert soon after a change is likely its effect, which a step on a host does not mend.
"""

import json
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select

from actions.audit import log
from actions.audit.chain import BEFORE_FIRST, Checkpoint
from actions.driver import Statement
from actions.place import Place
from actions.tables import audit
from receiver.controls.records import Change

ANNOUNCED = "change_announced"
# Built once, as each decision asks.
_NEW = Statement(
    select(audit.c.detail)
    .where(
        audit.c.seq > bindparam("after"),
        audit.c.seq <= bindparam("last"),
        audit.c.event == ANNOUNCED,
    )
    .order_by(audit.c.seq)
)


def announce(connection: Connection, change: Change, by: str, now: float) -> None:
    """Record the change."""
    detail = {"at": change.at, "what": change.what, "group": change.group, **vars(change.place)}
    log.append(connection, now, log.Event(actor=by, event=ANNOUNCED, detail=detail))


@dataclass
class ChangeRecords:
    """The newest change of each group and place; each record is read once."""

    _newest: dict[tuple[Place, str], Change] = field(default_factory=dict, init=False)
    _read_to: Checkpoint = field(default=BEFORE_FIRST, init=False)

    def newest(
        self, connection: Connection, place: Place, group: str | None, now: float
    ) -> Change | None:
        """The newest change up to `now` of the group, or of all of its place."""
        self._read_new(connection)
        found = [self._newest.get((place, name)) for name in {group or "", ""}]
        past = [change for change in found if change is not None and change.at <= now]
        return max(past, key=lambda change: change.at, default=None)

    def _read_new(self, connection: Connection) -> None:
        # Records are committed in their order.
        after, last = log.read_head(connection, self._read_to)
        between = {"after": after.seq, "last": last.seq}
        for row in _NEW.rows(connection, between):
            told = json.loads(row["detail"])
            place = Place(told["account"], told["region"])
            change = Change(at=told["at"], what=told["what"], place=place, group=told["group"])
            before = self._newest.get((place, change.group))
            if before is None or before.at <= change.at:
                self._newest[place, change.group] = change
        self._read_to = last
