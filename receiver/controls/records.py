"""Records of overrides and armings, and the mode that armings allow."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from actions.place import Place
from receiver.playbooks.matchers import Matcher
from receiver.playbooks.time_intervals import TimeInterval
from receiver.settings import Mode

# Stands in place of a service's name for every service that has no arming of its own.
ALL = ""
_WHOLE = 1 << 64
_DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Arming:
    """The latest arming of a playbook for a service, by a person or the breaker.

    It is for one account and region.

    The mode `observe` means disarmed. The arming applies only to the playbook with this `digest`.
    `since` is the start of this mode, `at` the last write of the record, both in epoch seconds.
    `figures` justified the arming; `despite` lists the shortfalls that a person overruled.
    """

    playbook: str
    account: str = ""
    region: str = ""
    service: str
    mode: Mode
    canary_percent: int
    digest: str
    by: str
    comment: str
    at: float
    since: float
    figures: Mapping[str, Any]
    despite: Sequence[str]

    @property
    def place(self) -> Place:
        return Place(self.account, self.region)


@dataclass(frozen=True, kw_only=True)
class ArmedMode:
    """The mode that the armings allow a playbook for a service, with the reason as text."""

    mode: Mode
    why: str
    canary_percent: int = 100

    def limit(self, playbook: str, target: str) -> tuple[Mode, str]:
        """The mode allowed on this target, and the source of its limit."""
        if self.mode is not Mode.OBSERVE and not in_canary(playbook, target, self.canary_percent):
            share = f"{target} is not among the {self.canary_percent} % of targets"
            return Mode.OBSERVE, f"the canary: {share}"
        return self.mode, f"the arming: {self.why}"


FREE = ArmedMode(mode=Mode.AUTO, why="no arming is required")


def armed_mode(
    armings: Sequence[Arming], place: Place, service: str, digest: str, *, required: bool
) -> ArmedMode:
    """The mode that a playbook's armings allow for a service; `digest` is the present one."""
    arming = active(armings, place, service)
    if arming is None:
        return ArmedMode(mode=Mode.OBSERVE, why="the playbook is not armed") if required else FREE
    if arming.mode is Mode.OBSERVE:
        return ArmedMode(
            mode=Mode.OBSERVE, why=f"{arming.by} disarmed the playbook: {arming.comment}"
        )
    if arming.digest != digest:
        return ArmedMode(mode=Mode.OBSERVE, why="the playbook was changed since it was armed")
    return ArmedMode(
        mode=arming.mode,
        why=f"{arming.by} armed the playbook: {arming.comment}",
        canary_percent=arming.canary_percent,
    )


def active(armings: Sequence[Arming], place: Place, service: str) -> Arming | None:
    """The arming that applies to a service: its own, else the one for all of its place."""
    by_key = {(each.place, each.service): each for each in armings}
    return by_key.get((place, service)) or by_key.get((place, ALL))


def in_canary(playbook: str, target: str, percent: int) -> bool:
    """Whether a target belongs to the canary; it stays in as the percentage grows."""
    digest = hashlib.sha256(f"{playbook}\n{target}".encode()).digest()
    return int.from_bytes(digest[:8]) * 100 < percent * _WHOLE


class Effect(StrEnum):
    HOLD = "hold"
    OBSERVE = "observe"
    ASK = "ask"


# By label, its values in the alert and on the alert's target in AWS.
Identity = Mapping[str, Collection[str]]


def identity_of(*labels: Mapping[str, str]) -> Identity:
    """All non-empty values by name."""
    identity: dict[str, set[str]] = {}
    for name, value in (item for part in labels for item in part.items()):
        if value:
            identity.setdefault(name, set()).add(value)
    return identity


@dataclass(frozen=True, kw_only=True)
class Override:
    """Applies to alerts that all matchers match, from `starts_at` to `ends_at` (epoch seconds).

    With `time_intervals` it does so only while one of them is open. A matcher may match a label of
    the alert, or of the alert's target in AWS.
    """

    id: str
    matchers: Sequence[Matcher]
    effect: Effect
    starts_at: float
    ends_at: float
    created_by: str
    comment: str
    time_intervals: Sequence[TimeInterval] = ()

    def lasts_until(self, now: float) -> float:
        """When it next stops to apply, within the next day, or ends."""
        if not self.time_intervals:
            return self.ends_at
        latest = min(self.ends_at, now + _DAY_S)
        return max(interval.closes_at(now, latest) for interval in self.time_intervals)

    def applies_to(self, identity: Identity, now: float) -> bool:
        in_time = self.starts_at <= now < self.ends_at
        if self.time_intervals:
            in_time = in_time and any(each.contains(now) for each in self.time_intervals)
        return in_time and all(
            any(matcher.matches_value(value) for value in identity.get(matcher.name, ("",)))
            for matcher in self.matchers
        )


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a group, or of all of its place where `group` is empty; `at` in epoch seconds."""

    at: float
    what: str
    place: Place
    group: str = ""

    def told(self, now: float) -> str:
        """As the end of a sentence."""
        return f"; {(now - self.at) / 60:.0f} min ago: {self.what}"
