"""The figures of one fleet: idle, a decision's cost, acts at once, fairness, takeover."""

import math
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import click

from bench.scale.audit_bound import appends_per_s, appends_so_far
from bench.scale.fleet import BenchGroup
from bench.scale.receiver import BenchStack

# For a minute after its start a receiver polls its queue as often as while it acts.
_SETTLED_S, _IDLE_S = 75.0, 60.0
# Alerts whose cost is measured: on some members of this many groups, the same in each fleet.
_COSTED_GROUPS, _COSTED_MEMBERS = 5, 4
# Acts that are measured, at most: one in each group.
_ACTS = 40
_PROBES, _PROBE_EVERY_S, _PROBE_PATIENCE_S = 20, 0.5, 60.0
_WAVE_EVERY_S = 2.0
_MEDIAN = 0.5
_POLL_S = 0.2
# PostgreSQL's statistics are about as late.
_STATISTICS_S = 2.0
_MINUTE_S = 60.0


@dataclass
class PeakMemory:
    """The receiver's largest resident memory while the block runs."""

    stack: BenchStack
    peak_mb: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._over.wait(_POLL_S):
            self.peak_mb = max(self.peak_mb, self.stack.leader.resident_mb())


def measure_fleet(stack: BenchStack) -> dict[str, Any]:
    """All figures, in the order in which one leaves the fewest traces for the next."""
    figures: dict[str, Any] = {
        "instances": stack.spec.instances,
        "groups": len(stack.spec.groups),
        "accounts": stack.spec.accounts,
        "places": len(stack.spec.places),
    }
    for measure in (_idle, _decisions, _acts, _fairness, _takeover):
        found = measure(stack)
        click.echo(f"{measure.__name__}: {dict(found)}", err=True)
        figures |= found
    return figures


def _idle(stack: BenchStack) -> Mapping[str, Any]:
    """Calls and CPU while no alert comes."""
    time.sleep(_SETTLED_S)
    before, began = stack.counts(), time.time()
    time.sleep(_IDLE_S)
    after, minutes = stack.counts(), (time.time() - began) / _MINUTE_S
    queries = after.prometheus.get("queries", 0) - before.prometheus.get("queries", 0)
    return {
        "rss_idle_mb": stack.leader.resident_mb(),
        "cpu_idle_share": (after.cpu_s - before.cpu_s) / (minutes * _MINUTE_S),
        "aws_calls_per_min_idle": (after.aws_calls - before.aws_calls) / minutes,
        "aws_idle": after.calls_since(before),
        "prometheus_queries_per_min_idle": queries / minutes,
    }


def _decisions(stack: BenchStack) -> Mapping[str, Any]:
    """The cost of the same incidents in a larger fleet, each judged by the model."""
    groups = stack.spec.groups[:: max(1, len(stack.spec.groups) // _COSTED_GROUPS)]
    groups = groups[:_COSTED_GROUPS]
    before, began = stack.counts(), time.time()
    for group in groups:
        stack.deliver(group, "HighCPU", group.ids[-_COSTED_MEMBERS:])
    took_s = stack.wait_decided() - began
    after = stack.counts()
    alerts = _COSTED_MEMBERS * len(groups)
    return {
        "decisions_per_s": alerts / took_s,
        "decision_cpu_ms": 1e3 * (after.cpu_s - before.cpu_s) / alerts,
        "decision_aws_calls": (after.aws_calls - before.aws_calls) / alerts,
        "decision_refusals": stack.refusals(),
    }


def _acts(stack: BenchStack) -> Mapping[str, Any]:
    """Acts a second without caps: one alert in each group, all at once.

    The second time, when the clients of each place are there, as after an hour.
    """
    groups = stack.spec.groups[:_ACTS]
    for member in (0, 1):
        stack.wait_ended()
        before, appends, began = stack.counts(), appends_so_far(stack), time.time()
        for group in groups:
            stack.deliver(group, "Runaway", group.ids[member : member + 1])
        acted = _wait_reboots(stack, began, {group.ids[member] for group in groups})
    after = stack.counts()
    times = sorted(acted.values())
    stack.wait_ended()
    time.sleep(_STATISTICS_S)
    appended = (appends_so_far(stack) - appends) / max(1, len(times))
    alone = appends_per_s(stack)
    return {
        "acts": len(times),
        "acts_per_s": len(times) / (times[-1] - began) if times else None,
        "act_cpu_ms": 1e3 * (after.cpu_s - before.cpu_s) / max(1, len(times)),
        "act_aws_calls": (after.aws_calls - before.aws_calls) / max(1, len(times)),
        "aws_calls_per_min_acting": (after.aws_calls - before.aws_calls)
        / max(1e-9, (time.time() - began) / _MINUTE_S),
        "aws_acting": after.calls_since(before),
        "throttled": after.aws["throttled"],
        "acts_per_s_by_cpu": len(times) / max(1e-9, after.cpu_s - before.cpu_s),
        "audit_appends_of_an_act": appended,
        "audit_appends_per_s": alone,
        "acts_per_s_by_audit": alone / max(1.0, appended),
    }


def _wait_reboots(stack: BenchStack, since: float, wanted: set[str]) -> Mapping[str, float]:
    until = time.time() + _PROBE_PATIENCE_S
    while True:
        reboots = {target: at for target, at in stack.reboots(since).items() if target in wanted}
        if len(reboots) == len(wanted) or time.time() > until:
            return reboots
        time.sleep(_POLL_S)


def _fairness(stack: BenchStack) -> Mapping[str, Any]:
    """From delivery to act in other accounts, while all instances of one account alert."""
    stormy = stack.spec.account_ids[-1]
    others = [group for group in stack.spec.groups if group.place.account != stormy][:_PROBES]
    calm, calm_decided = _probe(stack, others, member=2)
    stack.wait_ended()
    before, began = stack.counts(), time.time()
    with PeakMemory(stack) as memory, _storm(stack, stormy):
        stormed, decided = _probe(stack, others, member=3)
    minutes = (time.time() - began) / _MINUTE_S
    after = stack.counts()
    queries = after.prometheus.get("queries", 0) - before.prometheus.get("queries", 0)
    samples = after.prometheus.get("samples", 0) - before.prometheus.get("samples", 0)
    return {
        "calm_decided_p50_ms": _percentile(calm_decided, _MEDIAN),
        "calm_decided_p99_ms": _percentile(calm_decided, 0.99),
        "decided_p50_ms": _percentile(decided, _MEDIAN),
        "decided_p99_ms": _percentile(decided, 0.99),
        "calm_p50_ms": _percentile(calm, _MEDIAN),
        "calm_p99_ms": _percentile(calm, 0.99),
        "p50_ms": _percentile(stormed, _MEDIAN),
        "p99_ms": _percentile(stormed, 0.99),
        "unacted": sum(1 for took in stormed if took == math.inf),
        "rss_storm_mb": memory.peak_mb,
        "aws_calls_per_min_storm": (after.aws_calls - before.aws_calls) / minutes,
        "aws_storm": after.calls_since(before),
        "prometheus_queries_per_min_storm": queries / minutes,
        "prometheus_samples_per_min_storm": samples / minutes,
        "storm_refusals": stack.refusals(),
    }


@contextmanager
def _storm(stack: BenchStack, account: str) -> Iterator[None]:
    """All instances of the account alert inside the block, again and again by another name."""
    groups = [group for group in stack.spec.groups if group.place.account == account]
    over = threading.Event()

    def send() -> None:
        wave = 0
        while not over.is_set():
            for group in groups:
                stack.deliver(group, "Flood", group.ids, wave=f"{wave}")
            wave += 1
            over.wait(_WAVE_EVERY_S)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _probe(
    stack: BenchStack, groups: Sequence[BenchGroup], *, member: int
) -> tuple[list[float], list[float]]:
    """Milliseconds from each delivery to its act, and to its decision; infinity if none came."""
    sent: dict[str, float] = {}
    for group in groups:
        target = group.ids[member]
        sent[target] = stack.deliver(group, "Runaway", [target])
        time.sleep(_PROBE_EVERY_S)
    acted = _wait_reboots(stack, min(sent.values()), set(sent))
    acts = [1e3 * (acted.get(target, math.inf) - at) for target, at in sent.items()]
    return acts, [1e3 * (stack.decided_at(target) - at) for target, at in sent.items()]


def _percentile(values: Sequence[float], share: float) -> float | None:
    finite = sorted(value for value in values if value < math.inf)
    if not finite:
        return None
    return statistics.median(finite) if share == _MEDIAN else finite[int(share * (len(finite) - 1))]


def _takeover(stack: BenchStack) -> Mapping[str, Any]:
    """From the kill of the leader to the first act of another receiver."""
    second = stack.start_another()
    group = stack.spec.groups[0]
    killed = time.time()
    stack.leader.child.kill()
    stack.leader = second
    sent = stack.deliver(group, "Runaway", group.ids[-1:])
    acted = _wait_reboots(stack, sent, {group.ids[-1]})
    return {"takeover_s": acted[group.ids[-1]] - killed if acted else None}
