"""Versions of launch templates that were seen healthy, and whether alerts come from a bad one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from actions.aws.groups import Group, Member

# Fewer alerting instances do not prove a bad version.
_SEVERAL = 2


@dataclass(frozen=True, kw_only=True)
class SeenVersion:
    """A version that was once seen healthy in its group: last since then, if it still was at last.

    `since` is in epoch seconds.
    """

    group: str
    template: str
    version: str
    since: float
    healthy: bool

    def __str__(self) -> str:
        """As in `restore_version`."""
        return f"{self.template}/{self.version}"


def version_of(member: Member) -> tuple[str, str] | None:
    """The member's launch template and its version; None without one."""
    return (member.template, member.version) if member.template and member.version else None


def last_healthy(seen: Sequence[SeenVersion] | None) -> SeenVersion | None:
    """Of the versions of a group, the one that became healthy last and was healthy to the last."""
    healthy = [version for version in seen or () if version.healthy]
    return max(healthy, key=lambda version: version.since, default=None)


def is_bad_version(
    asg: Group | None, alerting: Collection[str] | None, seen: Sequence[SeenVersion] | None
) -> bool | None:
    """Whether several members of one version alert that was never seen healthy: a bad deploy.

    These are at least half of its members, and no smaller a share than alerts of the others, which
    may be overloaded. Another version must be on record as healthy. None is unknown.
    """
    if asg is None or alerting is None or seen is None:
        return None
    known = {(version.template, version.version) for version in seen}
    new = {version_of(member) for member in asg.members.values()} - known - {None}
    bad = [version for version in new if _alerts_most(asg, alerting, version)]
    return len(bad) == 1 and last_healthy(seen) is not None


def _alerts_most(asg: Group, alerting: Collection[str], version: tuple[str, str] | None) -> bool:
    own = [
        member.id in alerting for member in asg.members.values() if version_of(member) == version
    ]
    others = [member.id in alerting for member in asg.members.values()]
    return sum(own) >= max(_SEVERAL, len(own) / 2) and sum(own) * len(others) >= sum(others) * len(
        own
    )
