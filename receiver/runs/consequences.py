"""What a plan brings about, as far as the decision knew it, for the person who is asked."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """None and empty are unknown, or nothing.

    `name` and `address` are the target's. Of the `members` that are counted with it, `stay` go on
    serving, and at most `limit` may be out. `next_action` is what the playbook would try next;
    `next_asks`: a person is asked before. The last `times` runs in which the same step of the
    playbook helped took `took_s` seconds in the middle.
    """

    name: str = ""
    address: str = ""
    members: int | None = None
    stay: int | None = None
    limit: int | None = None
    next_action: str = ""
    next_asks: bool = False
    took_s: float | None = None
    times: int = 0


UNKNOWN = Consequences()
