"""The metrics of scenes, as a Prometheus that watched them would have stored them."""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.scenes.remote_write import Series
from bench.scenes.scene import DAY_S, Member, Scene, Setting, workload_of
from bench.scenes.shop import Shop
from demo.fleet.node_exporter import past
from demo.fleet.workload import DISK_BYTES, MEMORY_BYTES, Moments, levels
from receiver.evidence.roles.node_exporter import NODE_EXPORTER

_COARSE_S, _FINE_S, _FINEST_S = 300.0, 15.0, 5.0
_FINE_FOR_S, _FINEST_FOR_S, _PEERS_FOR_S = 7_200.0, 420.0, 2_400.0
# The metrics that the model reads: the only ones of earlier days.
_OLD = frozenset(re.findall(r"node_\w+", " ".join(NODE_EXPORTER.exprs.values())))


def make_setting(now: float, seed: int) -> Setting:
    """Moments every 5 min for a week, every 15 s for two hours, every 5 s for the last minutes."""
    coarse = np.arange(now - 7 * DAY_S, now - _FINE_FOR_S, _COARSE_S)
    fine = np.arange(now - _FINE_FOR_S, now - _FINEST_FOR_S, _FINE_S)
    finest = np.arange(now - _FINEST_FOR_S, now + 1, _FINEST_S)
    at = np.concatenate([coarse, fine, finest])
    return Setting(at=at, now=now, chance=random.Random(seed))


def series_of(scene: Scene, setting: Setting) -> Iterator[Series]:
    """Every series of the scene's hosts and of its group."""
    at, now = setting.at, setting.now
    alerting = {target for _, target in scene.alerts}
    for member in scene.members:
        whole = member.host.instance_id in alerting
        yield from _member(member, scene.shop, at, now, whole=whole)
    yield from _of_group(scene, at, now)


def _member(
    member: Member, shop: Shop, at: Moments, now: float, *, whole: bool
) -> Iterator[Series]:
    host = member.host
    level = levels(host, workload_of(member, at), at)
    member.exporter, recorded = past(level, at, now - 20 * DAY_S)
    since = now - (7 * DAY_S if whole and member.history else _PEERS_FOR_S)
    if not member.history:
        since = now - 100
    kept = shop.scraped(at)
    scraped = (at >= since) & (at <= now - member.silent_s) & kept
    recent = scraped & (at >= now - _FINE_FOR_S)
    labels = shop.selectors(host)
    for series, values in recorded:
        name, _, own = series.partition("{")
        counter = name.endswith("_total") or "netstat" in name
        if member.reset_s is not None and counter:
            began = now - member.reset_s
            counted = np.where(at >= began, values - values[at < began][-1], values)
            member.exporter.counters[series] = float(counted[-1])
        else:
            counted = values
        head = ",".join(filter(None, (own.removesuffix("}"), labels)))
        keep = scraped if name in _OLD or name == "service_up" else recent
        yield _kept(f"{name}{{{head}}}", counted, at, keep)
        if name == "service_up" and member.silent_s:
            # Stands for the staleness marker of a failed scrape.
            failed = at[(at > now - member.silent_s) & kept][:1]
            yield Series(f"{name}{{{head}}}", failed, np.full(failed.shape, np.nan))
    up = np.where(at > now - member.silent_s, float(member.up and member.silent_s == 0), 1.0)
    yield _kept(f"up{{{labels}}}", up, at, (at >= now - _PEERS_FOR_S) & kept)
    for name, values in ratios(level).items():
        yield _kept(f"{name}{{{labels}}}", np.broadcast_to(values, at.shape), at, recent)


def ratios(level: Mapping[str, Moments]) -> dict[str, Any]:
    """What the recording rules make of the metrics."""
    return {
        "instance:node_memory_used:ratio": level["memory_used"] / MEMORY_BYTES,
        "instance:node_filesystem_utilisation:ratio": level["disk_used"] / DISK_BYTES,
        "instance:node_cpu_utilisation:irate": level["cpu_user"] + level["cpu_system"],
        "instance:service_error:ratio": level["errors"]
        / np.maximum(level["errors"] + level["answered"], 1e-9),
    }


def _of_group(scene: Scene, at: Moments, now: float) -> Iterator[Series]:
    errors, answers = np.zeros(at.shape), np.zeros(at.shape)
    for member in scene.members:
        level = levels(member.host, workload_of(member, at), at)
        errors, answers = errors + level["errors"], answers + level["answered"]
    scene.burn = [
        (float(error), float(error + answer))
        for error, answer in zip(errors[-60:], answers[-60:], strict=True)
    ]
    keep = at >= now - _PEERS_FOR_S
    ratio = errors / np.maximum(errors + answers, 1e-9)
    yield _kept(f'asg:service_error:ratio1m{{asg="{scene.name}"}}', ratio, at, keep)
    long_ratio = _mean(errors, at, 300) / np.maximum(_mean(errors + answers, at, 300), 1e-9)
    yield _kept(f'asg:service_error:ratio5m{{asg="{scene.name}"}}', long_ratio, at, keep)


def _mean(values: Moments, at: Moments, seconds: float) -> Moments:
    """The mean of `values` over the `seconds` before each moment."""
    total = np.concatenate(([0.0], np.cumsum(values * np.diff(at, prepend=at[0]))))
    since = np.searchsorted(at, at - seconds, side="right")
    return np.asarray((total[1:] - total[since]) / seconds)


def _kept(series: str, values: Moments, at: Moments, keep: NDArray[np.bool_]) -> Series:
    return Series(series, at[keep], values[keep])
