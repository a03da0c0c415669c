"""Which components explain that another one is slow or fails.

A component is unwell where it is further above its own median than its own 99th percentile is, by
a fifth. It explains as much of another one's trouble as it burdens it: the time, or the failures,
that it adds a second. So a component that many callers wait for weighs more than one that few do,
and one that is unwell without a request explains nothing. The blame passes on to a component's own
dependency where that explains half as much.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

# Further than this many times its own 99th percentile, both measured from the median.
_UNWELL = 1.2
# A suspect explains at least this share, and is blamed unless a dependency explains half as much.
_EXPLAINS = 0.25
_PASSED_ON = 0.5
# Two and a half hours of samples of five minutes.
_ENOUGH = 30


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A component's latency in seconds a request, or its failed share of requests, with its past.

    What differs from the median by `least` or less is nothing.
    """

    now: float
    past: Sequence[float]
    least: float

    @cached_property
    def excess(self) -> float:
        return self.now - statistics.median(self.past)

    @property
    def is_unwell(self) -> bool:
        usual = statistics.quantiles(self.past, n=100)[-1] - statistics.median(self.past)
        return self.excess > _UNWELL * max(usual, self.least)

    @staticmethod
    def of_latency(now: float, past: Sequence[float]) -> "Signal | None":
        """None where the past is too short. A tenth of the usual latency is nothing."""
        if len(past) < _ENOUGH:
            return None
        return Signal(now=now, past=past, least=0.1 * statistics.median(past))

    @staticmethod
    def of_failures(now: float, past: Sequence[float]) -> "Signal | None":
        """None where the past is too short. One failure in 200 requests is nothing."""
        return Signal(now=now, past=past, least=0.005) if len(past) >= _ENOUGH else None


@dataclass(frozen=True, kw_only=True)
class Component:
    """Its requests a second and its signals by name: `latency`, `failures`."""

    requests: float
    signals: Mapping[str, Signal] = field(default_factory=dict)

    def burden(self, signal: str) -> float:
        """Seconds, or failed requests, that it adds a second to its callers."""
        found = self.signals.get(signal)
        return 0.0 if found is None else found.excess * self.requests


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A component that explains this share of the target's trouble; above 1 it explains it all."""

    component: str
    signal: str
    share: float

    def __str__(self) -> str:
        share = "all" if self.share >= 1 else f"{self.share:.0%}"
        return f"{self.component} explains {share} of the {self.signal}"


def find_suspects(
    target: str, depends_on: Mapping[str, Sequence[str]], components: Mapping[str, Component]
) -> Sequence[Suspect]:
    """The unwell components on which the target depends, directly or not; the blamed first."""
    suspects: dict[str, Suspect] = {}
    for suspect in _suspects(target, depends_on, components):
        known = suspects.get(suspect.component)
        if known is None or known.share < suspect.share:
            suspects[suspect.component] = suspect

    def is_blamed(suspect: Suspect) -> bool:
        passed_on = (
            suspects[name].share >= _PASSED_ON * suspect.share
            for name in reachable(suspect.component, depends_on)
            if name in suspects and suspect.component not in reachable(name, depends_on)
        )
        return not any(passed_on)

    def order(suspect: Suspect) -> tuple[bool, float]:
        return is_blamed(suspect), suspect.share

    return sorted(suspects.values(), key=order, reverse=True)


def reachable(component: str, depends_on: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """All that the component depends on, directly or not, without itself."""
    found: dict[str, None] = {}
    waiting = [component]
    while waiting:
        for name in depends_on.get(waiting.pop(), ()):
            if name not in found and name != component:
                found[name] = None
                waiting.append(name)
    return list(found)


def _suspects(
    target: str, depends_on: Mapping[str, Sequence[str]], components: Mapping[str, Component]
) -> Iterator[Suspect]:
    if (own := components.get(target)) is None:
        return
    for name in reachable(target, depends_on):
        for signal, values in components[name].signals.items() if name in components else ():
            burden = own.burden(signal)
            share = components[name].burden(signal) / burden if burden > 0 else 0.0
            if values.is_unwell and share >= _EXPLAINS:
                yield Suspect(component=name, signal=signal, share=share)
