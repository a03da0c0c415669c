"""The re-check on synthetic fleets: what is confirmed, refuted, and left undecided."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from models.features.evidence import Evidence, Series
from models.inference.verdict import Answer
from tests.models.fleet_fixtures import BATCH, CPU, DAY, RUNAWAY, SURGE, Level, evidence, judge


def without(metrics: Evidence, *roles: str) -> Evidence:
    def rest(part: dict[str, Series]) -> dict[str, Series]:
        return {role: series for role, series in part.items() if role not in roles}

    return replace(
        metrics,
        history=rest(dict(metrics.history or {})),
        recent=rest(dict(metrics.recent or {})),
        peers={name: rest(dict(part)) for name, part in (metrics.peers or {}).items()},
    )


def texts(metrics: Evidence, *roles: str) -> str:
    return " ".join(reason.text for reason in judge(metrics, roles or CPU).contributions)


@pytest.mark.parametrize("seed", range(5))
def test_runaway_on_one_host_is_confirmed(seed: int) -> None:
    """CPU far up seconds ago, traffic and siblings as ever: this host alone is at fault."""
    verdict = judge(evidence(seed=seed, now=RUNAWAY), CPU)
    assert verdict.answer is Answer.CONFIRMED
    assert (verdict.peers, verdict.peers_moved, verdict.surging) == (5, 0, False)
    assert verdict.confidence is not None
    assert verdict.confidence >= 0.5
    assert verdict.kind == "runaway_process"
    told = [reason.text for reason in verdict.contributions]
    assert "0 of 5 siblings" in told[0]
    assert any(text.startswith("cpu_busy is 98 %, usually 3") for text in told)


@pytest.mark.parametrize("seed", range(5))
def test_surge_of_a_whole_group_is_confirmed_as_one(seed: int) -> None:
    """Most siblings moved and carry more traffic: confirmed, and said to be the group's."""
    verdict = judge(evidence(seed=seed, now=SURGE, peers_now=SURGE, peers_with_it=4), CPU)
    assert verdict.answer is Answer.CONFIRMED
    assert (verdict.peers, verdict.peers_moved, verdict.surging) == (5, 4, True)


def test_surge_that_began_long_ago_still_is_the_groups() -> None:
    """Siblings whose half hour is all surge are held against the target's own usual level."""
    verdict = judge(evidence(now=SURGE, peers_now=SURGE, for_s=2_400), CPU)
    assert verdict.answer is Answer.CONFIRMED
    assert verdict.surging is True


def test_surge_in_the_hour_of_a_job_is_the_groups() -> None:
    """A busy processor is usual at this hour; with three times the traffic everywhere it is not."""
    verdict = judge(evidence(now=SURGE, peers_now=SURGE, job_days=(1, 3, 4, 6)), CPU)
    assert verdict.answer is Answer.CONFIRMED
    assert (verdict.peers_moved, verdict.surging) == (5, True)


@pytest.mark.parametrize("seed", range(5))
def test_recurring_job_is_refuted(seed: int) -> None:
    """The same CPU and disk work at this hour on most earlier days is no incident."""
    metrics = evidence(seed=seed, now=BATCH, job_days=(1, 2, 3, 5, 6))
    assert judge(metrics, CPU).answer is Answer.REFUTED
    assert "usual at this hour" in texts(metrics)
    assert "5 of 7 earlier days" in texts(metrics)
    assert "disk_write_bytes" in texts(metrics)


def test_job_seen_on_too_few_days_is_undecided() -> None:
    """Twice in a week is no habit, and twice in three days is too little to tell."""
    assert judge(evidence(now=BATCH, job_days=(1, 4)), CPU).answer is Answer.UNDECIDED
    young = evidence(now=BATCH, past_days=3.5, job_days=(1, 2))
    assert judge(young, CPU).answer is Answer.UNDECIDED


def test_first_job_ever_is_undecided() -> None:
    """CPU with disk work that was never seen could be a job or a fault."""
    metrics = evidence(now=BATCH)
    verdict = judge(metrics, CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.confidence is not None
    assert 0.2 < verdict.confidence < 0.8
    assert "disk_write_bytes is " in texts(metrics)


@pytest.mark.parametrize("seed", range(5))
def test_runaway_in_the_jobs_hour_is_not_taken_for_the_job(seed: int) -> None:
    """CPU as high as the nightly job's, but without its disk work, is still confirmed."""
    metrics = evidence(seed=seed, now=RUNAWAY, job_days=(1, 2, 3, 4, 5, 6, 7))
    verdict = judge(metrics, CPU)
    assert verdict.answer is Answer.CONFIRMED


def test_load_that_lags_behind_does_not_hide_a_recurring_job() -> None:
    """Load as of earlier days' jobs is not there yet, or is there sooner: the same job."""
    loaded = BATCH | {"load1": lambda v: v + 3}
    for now, job in ((BATCH, loaded), (loaded, BATCH)):
        metrics = evidence(now=now, job=job, job_days=(1, 2, 3, 4))
        assert judge(metrics, CPU).answer is Answer.REFUTED


def test_alert_whose_condition_is_gone_is_refuted() -> None:
    """Back in the usual range: nothing to remedy."""
    verdict = judge(evidence(), CPU)
    assert verdict.answer is Answer.REFUTED
    assert verdict.score < judge(evidence(now=RUNAWAY), CPU).score / 2


def test_high_level_that_is_usual_is_not_confirmed() -> None:
    """A host that always works at 92 % is within its own range at 93 %."""

    def busy(part: Evidence) -> Evidence:
        def always(series: Series) -> Series:
            return Series(series.times, [0.9 + 0.05 * v for v in series.values])

        history, recent = dict(part.history or {}), dict(part.recent or {})
        history["cpu_busy"] = always(history["cpu_busy"])
        recent["cpu_busy"] = always(recent["cpu_busy"])
        return replace(part, history=history, recent=recent)

    metrics = busy(evidence(now={"cpu_busy": lambda v: np.full_like(v, 0.6)}))
    verdict = judge(metrics, CPU)
    assert verdict.answer is not Answer.CONFIRMED
    assert verdict.unusual is not None
    assert verdict.unusual <= 1


def _swinging(metrics: Evidence, jump: float) -> Evidence:
    """Its processor follows the day between 10 and 70 %, and jumps within that at last."""

    def swing(series: Series, last_s: float) -> Series:
        times = np.asarray(series.times)
        noise = 0.3 * np.asarray(series.values)
        values = 0.4 + 0.3 * np.sin(2 * np.pi * (times - metrics.at) / DAY) + noise
        return Series(series.times, (values + jump * (times > metrics.at - last_s)).tolist())

    history, recent = dict(metrics.history or {}), dict(metrics.recent or {})
    history["cpu_busy"] = swing(history["cpu_busy"], 0)
    recent["cpu_busy"] = swing(recent["cpu_busy"], 60)
    return replace(metrics, history=history, recent=recent)


def test_a_jump_within_the_own_range_is_not_refuted() -> None:
    """Of the same level, reached as slowly as every day, nothing is to be said."""
    metrics = _swinging(evidence(), jump=0.08)
    verdict = judge(metrics, CPU)
    assert verdict.unusual is not None
    assert verdict.unusual <= 1
    assert verdict.answer is not Answer.REFUTED
    assert "within its range, but cpu_busy jumped" in texts(metrics)
    calm = _swinging(evidence(), jump=0.0)
    assert judge(calm, CPU).answer is Answer.REFUTED
    assert "jumped" not in texts(calm)


def _freed_at_once(metrics: Evidence, climb: float) -> Evidence:
    """Its memory fills by a gigabyte in six hours and is freed; at last it climbs faster."""

    def sawtooth(series: Series) -> Series:
        times = np.asarray(series.times)
        filled = ((times - metrics.at) / 21_600 + 0.3) % 1
        faster = np.clip(1 - (metrics.at - times) / 900, 0, 1)
        noise = 0.1 * (np.asarray(series.values) - 1.4e9)
        return Series(series.times, (1.4e9 + 1e9 * filled + climb * faster + noise).tolist())

    history, recent = dict(metrics.history or {}), dict(metrics.recent or {})
    history["memory_used_effective"] = sawtooth(history["memory_used_effective"])
    recent["memory_used_effective"] = sawtooth(recent["memory_used_effective"])
    return replace(metrics, history=history, recent=recent)


def test_a_fast_climb_is_seen_where_memory_is_often_freed_at_once() -> None:
    """What is freed changes more, but the other way."""
    role, jumped = "memory_used_effective", "within its range, but memory_used_effective jumped"
    climbing = _freed_at_once(evidence(), climb=0.1e9)
    assert judge(climbing, (role,)).answer is not Answer.REFUTED
    assert jumped in texts(climbing, role)
    assert jumped not in texts(_freed_at_once(evidence(), climb=0.0), role)


def test_a_lone_host_within_its_range_is_not_confirmed() -> None:
    """It was as busy at another hour of each day: a signature alone is too little, as is said."""
    metrics = evidence(seed=3, now=RUNAWAY)
    past = dict(metrics.history or {})
    times = np.asarray(past["cpu_busy"].times)
    busy = np.abs((metrics.at - times) % DAY - 9 * 3600) < 3600
    past |= {
        role: Series(
            times.tolist(),
            np.where(busy, level(np.asarray(past[role].values)), past[role].values).tolist(),
        )
        for role, level in RUNAWAY.items()
    }
    lone = replace(metrics, history=past, peers={})
    verdict = judge(lone, CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.unusual is not None
    assert verdict.unusual <= 1
    assert "without siblings it must be out of its own range" in texts(lone)


def test_group_that_fails_without_traffic_is_left_alone() -> None:
    """Everybody's CPU up without traffic: no host's own fault, so none is touched."""
    verdict = judge(evidence(now=RUNAWAY, peers_now=RUNAWAY), CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert (verdict.peers_moved, verdict.surging) == (5, False)


def test_runaway_amid_a_surge_of_the_others_is_undecided() -> None:
    """The others carry more traffic, the target does not: not simply the group's load."""
    verdict = judge(evidence(now=RUNAWAY, peers_now=SURGE), CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.surging is False


def test_slight_rise_is_undecided() -> None:
    """Beyond the usual, but not far: not enough to act on, too much to wave through."""
    metrics = evidence(now={"cpu_busy": lambda v: np.full_like(v, 0.52)})
    assert judge(metrics, CPU).answer is Answer.UNDECIDED
    assert "cpu_busy is 52 %" in texts(metrics)


def test_some_siblings_moved_is_undecided() -> None:
    """Two of five is neither one host nor the group."""
    verdict = judge(evidence(now=RUNAWAY, peers_now=RUNAWAY, peers_with_it=2), CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.surging is None


def test_hot_spot_is_undecided() -> None:
    """One host with its own traffic up in proportion is being used, not broken."""
    metrics = evidence(now=SURGE)
    assert judge(metrics, CPU).answer is Answer.UNDECIDED
    assert "net_rx_bytes is " in texts(metrics)


def test_unknown_siblings_leave_it_undecided() -> None:
    """Without the siblings nobody can say whether the group moved."""
    metrics = replace(evidence(now=RUNAWAY), peers=None, problems=("peers: no answer in 5 s",))
    verdict = judge(metrics, CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.surging is None
    assert verdict.peers is None
    assert "no answer in 5 s" in texts(metrics)


def test_group_of_one_is_judged_by_its_own_metrics() -> None:
    """No sibling to compare with is no sibling that did not move, and the reason says so."""
    for now in (SURGE, BATCH):
        verdict = judge(replace(evidence(now=now), peers={}), CPU)
        assert verdict.answer is Answer.UNDECIDED
        assert verdict.contributions[0].text == "It has no siblings to compare it with."


def test_silent_siblings_do_not_count_as_unmoved() -> None:
    """Three of five siblings without fresh samples: too few are left to compare with."""
    metrics = evidence(now=RUNAWAY)
    peers = dict(metrics.peers or {})
    for name in list(peers)[:3]:
        peers[name] = {r: Series(s.times[:-4], s.values[:-4]) for r, s in peers[name].items()}
    assert judge(replace(metrics, peers=peers), CPU).answer is Answer.UNDECIDED


def test_surge_of_a_group_that_is_mostly_silent_is_undecided() -> None:
    """Two of five siblings moved and carry more; of the others nobody knows."""
    metrics = evidence(now=SURGE, peers_now=SURGE)
    peers = dict(metrics.peers or {})
    for name in list(peers)[:3]:
        peers[name] = {r: Series(s.times[:-4], s.values[:-4]) for r, s in peers[name].items()}
    verdict = judge(replace(metrics, peers=peers), CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.surging is None
    assert "Only 2 of 5 siblings" in verdict.contributions[0].text


def test_more_traffic_alone_is_no_overload() -> None:
    """All members carry more, and nothing else moved: traffic does not explain itself."""
    more: dict[str, Level] = {"net_rx_bytes": lambda v: v * 3}
    verdict = judge(evidence(now=more, peers_now=more), ("net_rx_bytes",))
    assert verdict.answer is not Answer.CONFIRMED
    assert verdict.surging is None


@pytest.mark.parametrize("fault", [RUNAWAY, SURGE])
def test_unknown_traffic_is_undecided(fault: dict[str, Level]) -> None:
    """Without traffic neither a lone host nor a surge can be told."""
    traffic = ("net_rx_bytes", "net_tx_bytes", "tcp_established")
    peers_now = fault if fault is SURGE else None
    verdict = judge(without(evidence(now=fault, peers_now=peers_now), *traffic), CPU)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.surging is not True


def test_unknown_disk_work_is_undecided() -> None:
    """A job cannot be ruled out where the disks are not measured."""
    disk = ("disk_read_bytes", "disk_write_bytes", "disk_util")
    metrics = without(evidence(now=RUNAWAY), *disk)
    assert judge(metrics, CPU).answer is Answer.UNDECIDED


def test_memory_leak_on_one_host_is_confirmed() -> None:
    """Memory far beyond its past, siblings as ever."""
    leak: dict[str, Level] = {"memory_used_effective": lambda v: v * 2.2}
    metrics = evidence(now=leak, for_s=3_000)
    assert judge(metrics, ("memory_used_effective",)).answer is Answer.CONFIRMED


def test_role_that_no_reboot_mends_is_undecided() -> None:
    """Traffic alone has risen: out of the ordinary, and nothing this detector would act on."""
    more: dict[str, Level] = {"net_tx_bytes": lambda v: v * 4}
    assert judge(evidence(now=more)).answer is Answer.UNDECIDED
    assert judge(evidence(now=more), ("net_tx_bytes",)).answer is Answer.UNDECIDED


HANG: dict[str, Level] = {
    "net_tx_bytes": lambda v: v * 0.1,
    "net_rx_bytes": lambda v: v * 0.2,
}


@pytest.mark.parametrize("seed", range(5))
def test_siblings_are_compared_where_a_metric_fell(seed: int) -> None:
    """Traffic that collapses on one host is told from that of a whole group."""
    one, group = (
        judge(evidence(seed=seed, now=HANG, peers_now=HANG, peers_with_it=with_it))
        for with_it in (0, 5)
    )
    assert one.answer is not Answer.REFUTED
    assert one.kind in {None, "hang"}
    assert (one.peers, one.peers_moved) == (5, 0)
    assert group.answer is Answer.UNDECIDED
    assert (group.peers, group.peers_moved) == (5, 5)


def test_alert_on_another_role_is_not_confirmed_by_cpu() -> None:
    """An alert about memory is judged on memory, whatever the CPU does."""
    verdict = judge(evidence(now=RUNAWAY), ("memory_used_effective",))
    assert verdict.answer is Answer.UNDECIDED


def test_stronger_deviation_scores_higher() -> None:
    """The score orders alerts by how far they are out, within one rule."""

    def at_level(level: float) -> float:
        return judge(evidence(now={"cpu_busy": lambda v: np.full_like(v, level)}), CPU).score

    scores = [at_level(level) for level in (0.8, 0.9, 0.98)]
    assert scores == sorted(set(scores))
    assert all(0 < score < 1 for score in scores)


def _waits(part: Mapping[str, Series], share: float = 0.0) -> dict[str, Series]:
    """Its processor waits for a disk for `share` of the last minute, as exporters count it."""
    times = np.asarray(part["cpu_busy"].times)
    slow = share * (times > times[-1] - 60)
    waiting = 0.02 * np.random.default_rng(1).random(len(times)) + slow
    made = {
        "cpu_busy": np.asarray(part["cpu_busy"].values) + waiting,
        "cpu_iowait": waiting,
        "disk_await": 0.002 + 0.01 * waiting + 0.3 * slow,
        "disk_util": np.asarray(part["disk_util"].values) + slow,
    }
    return {**part, **{role: Series(times.tolist(), made[role].tolist()) for role in made}}


def test_a_processor_that_waits_for_its_disk_is_no_runaway_process() -> None:
    """A rule about busy processors counts it, and the re-check names the disk."""
    metrics = evidence()
    stalled = replace(
        metrics,
        history=_waits(metrics.history or {}),
        recent=_waits(metrics.recent or {}, share=0.6),
        peers={name: _waits(part) for name, part in (metrics.peers or {}).items()},
    )
    verdict = judge(stalled, CPU)
    assert (verdict.answer, verdict.kind) == (Answer.CONFIRMED, "disk")
    assert "cpu_iowait is" in texts(stalled)
