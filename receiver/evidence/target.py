"""The target of an alert."""

from dataclasses import dataclass

from actions.base import TargetKind


@dataclass(frozen=True, kw_only=True)
class Target:
    """An instance or a group; all fields are None where the alert's labels name neither.

    `unread` is the call and code of a read of AWS that failed, which may have identified it.
    `doubt` says why AWS does not have what the labels name.
    """

    id: str | None = None
    kind: TargetKind | None = None
    group: str | None = None
    unread: str = ""
    doubt: str = ""
