"""The target of an alert."""

import ipaddress
from dataclasses import dataclass

from actions.base import TargetKind


@dataclass(frozen=True, kw_only=True)
class Target:
    """An instance or a group; all fields are None where the alert's labels name neither.

    `unread` is the call and code of a read of AWS that failed, which may have identified it.
    """

    id: str | None = None
    kind: TargetKind | None = None
    group: str | None = None
    unread: str = ""


def private_address(instance: str) -> str | None:
    """The address of a scrape target ("10.0.1.7:9100") if it is private IPv4, else None."""
    host, _, _ = instance.partition(":")
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return str(address) if address.is_private and not address.is_loopback else None
