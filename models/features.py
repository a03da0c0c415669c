"""What the model sees of one alert: a vector of named numbers, in training as in service.

Every number is relative to the target's own past, so that units and absolute sizes do not
matter; what is not known is NaN, never zero. Roles are gathered into groups (`GROUPS`), so that
a dozen roles of one exporter and three dozen of another fill the same columns. Nothing later
than the window's moment can take part: the window holds none of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.window import DAY_SLOTS, Window

# Matrices of a few dozen rows: more threads only wait for each other, and burn a second core.
threadpool_limits(1, "blas")

Floats = NDArray[np.float64]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("cpu_busy",),
    "load": ("load1", "load5", "load15"),
    "memory": ("memory_used", "memory_used_effective", "memory_shmem"),
    "swap": ("swap_in", "swap_out"),
    "space": ("filesystem_used",),
    "disk_in": ("disk_reads", "disk_read_bytes"),
    "disk_out": ("disk_writes", "disk_write_bytes"),
    "disk_busy": ("disk_util",),
    "disk_slow": ("disk_queue", "disk_await", "disk_write_await"),
    "net_in": ("net_rx_bytes", "net_rx_packets", "tcp_in_segs", "request_count"),
    "net_out": ("net_tx_bytes", "net_tx_packets", "tcp_out_segs"),
    "connections": ("tcp_in_use", "tcp_established"),
    "closing": ("tcp_time_wait",),
    "opens": ("tcp_active_opens", "tcp_passive_opens"),
    "resets": ("tcp_out_rsts",),
    "errors": (
        "tcp_retrans",
        "tcp_timeouts",
        "tcp_in_errs",
        "tcp_listen_overflows",
        "udp_rcvbuf_errs",
        "udp_sndbuf_errs",
    ),
    "udp": ("udp_in_datagrams", "udp_out_datagrams"),
    "service": ("latency", "service_up"),
}
_GROUP_NAMES = tuple(GROUPS)
_GROUP_OF = {role: index for index, roles in enumerate(GROUPS.values()) for role in roles}
_TRAFFIC = frozenset({*GROUPS["net_in"], *GROUPS["net_out"]})

_PER_GROUP = (
    "now",
    "hour",
    "change",
    "tail",
    "again",
    "five",
    "thirty",
    "climb",
    "straight",
    "jump",
    "quarter",
    "turn",
    "local",
    "steady",
    "abrupt",
)
_LEAD = (
    "now",
    "hour",
    "day",
    "change",
    "tail",
    "again",
    "ordinary",
    "lasts",
    "ramp",
    "five",
    "jitter",
    "saturated",
    "episodes",
    "beyond_max",
    "reach",
    "thirty",
    "climb",
    "straight",
    "jump",
    "recent_jump",
    "quarter",
    "turn",
    "local",
    "steady",
    "abrupt",
)
_WHOLE = (
    "roles",
    "days",
    "asked",
    "risen",
    "fallen",
    "risen_share",
    "fallen_share",
    "groups_risen",
    "groups_fallen",
    "residual",
    "residual_size",
    "nearest",
    "nearest_size",
    "alike_days",
    "alike_hour_days",
    "cpu_unexplained",
    "load_unexplained",
    "connections_unexplained",
    "opens_unexplained",
    "traffic",
    "traffic_least",
    "strongest",
    "second",
    "restless",
    "turned",
    "groups_turned",
    "turned_most",
    "turned_second",
    "far_share",
    "further_share",
    "beyond_mean",
    "size",
    "size_ratio",
    "size_rank",
    "apart",
    "apart_ratio",
    "apart_rank",
    "near5",
    "near30",
    "near30_flat",
    "near30_steep",
    "past_size",
    "past_size_high",
    *(
        f"{who}_{what}"
        for who in ("lead", "all")
        for what in ("of_3_days", "of_7_days", "of_days", "focus", "rate", "weekly")
    ),
    "left",
    "groups_left",
    "left_second",
)
NAMES: tuple[str, ...] = (
    *(f"{group}_{what}" for group in _GROUP_NAMES for what in _PER_GROUP),
    *(f"{group}_asked" for group in _GROUP_NAMES),
    *(f"lead_{what}" for what in _LEAD),
    *_WHOLE,
)
MOVED = float(np.arcsinh(4.0))
_LEAST_DAYS_SLOTS = 12
_HOUR_SLOTS = 4
_NEWEST_LEFT_OUT = 6
# A job starts a little earlier or later each day.
_JOB_SLOTS = 6
_TOGETHER = 0.6
_STILL = 1e-6
_FAR_SD = 3
_FAR = 1e6


@dataclass(frozen=True)
class Levels:
    """Each known role against its past: columns as `roles`, z in signed asinh of sigmas."""

    roles: tuple[str, ...]
    now: Floats
    usual: Floats
    sigma: Floats
    scale: Floats
    beyond: NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0), np.bool_))
    known: NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0), np.bool_))
    columns: Mapping[str, Floats] = field(default_factory=dict)


def features(window: Window, asked: Collection[str]) -> tuple[Floats, Levels]:
    """The vector (`NAMES`), and the roles' levels it was made from, for the reasons.

    `asked` are the roles that the alert speaks of; where none of them is known, the role that
    moved the most leads. A window without a single known role gives a vector of NaN.
    """
    vector = np.full(len(NAMES), np.nan)
    known = np.isfinite(window.now) & (np.isfinite(window.history).sum(axis=1) >= DAY_SLOTS // 8)
    if not known.any():
        return vector, Levels((), np.empty(0), np.empty(0), np.empty(0), np.empty(0))
    window = window.only(known)
    levels = _levels(window)
    group_of = np.array([_GROUP_OF.get(role, -1) for role in window.roles])
    is_asked = np.array([role in asked for role in window.roles])
    vector[: len(_GROUP_NAMES) * len(_PER_GROUP)] = _by_group(levels, group_of)
    at = len(_GROUP_NAMES) * len(_PER_GROUP)
    vector[at : at + len(_GROUP_NAMES)] = _asked_groups(levels, group_of, is_asked)
    at += len(_GROUP_NAMES)
    lead = _lead(levels, is_asked)
    vector[at : at + len(_LEAD)] = [levels.columns[what][lead] for what in _LEAD]
    vector[at + len(_LEAD) :] = _whole(window, levels, group_of, is_asked)
    return vector, levels


def _levels(window: Window) -> Levels:
    history, recent, now = window.history, window.recent, window.now
    past = history[:, _NEWEST_LEFT_OUT:]
    count = np.isfinite(past).sum(axis=1)
    low, q25, usual, q75, high, top, bottom = _quantiles(
        past, count, (0.02, 0.25, 0.5, 0.75, 0.98, 0.999, 0.001)
    )
    steps = np.abs(np.diff(recent[:, :61], axis=1))
    jitter = np.nan_to_num(_median(steps))
    sigma = np.maximum.reduce(
        [(q75 - q25) / 1.349, (high - low) / 8, (top - bottom) / 20, 0.02 * np.abs(usual)]
    )
    sigma = np.maximum.reduce([sigma, jitter / 2, window.floors, np.full(len(now), 1e-12)])
    far = now - usual
    sign = np.where(far >= 0, 1.0, -1.0)
    hour_usual, hour_sigma = _hour(window, usual, sigma)
    yesterday = history[:, 12 : 12 + DAY_SLOTS]
    day_usual = _or(_median(yesterday), usual)
    before = _or(_median(recent[:, 45:105]), day_usual)
    five = _or(_median(recent[:, :5]), now)
    thirty = _or(_median(recent[:, :30]), five)
    climb, straight, jump, recent_jump = _course(history, recent, now, sigma)
    quarter = _or(_median(recent[:, 12:20]), before)
    reached = usual + 0.6 * far
    beyond = _beyond(past, reached, sign)
    known_days, at_hour, at_all, episodes = _days(window, beyond)
    half = before + 0.5 * (now - before)
    lasting = np.where(sign[:, None] > 0, recent >= half[:, None], recent <= half[:, None])
    lasts = (lasting & np.isfinite(recent)).sum(axis=1) / np.maximum(
        np.isfinite(recent).sum(axis=1), 1
    )
    outside = _beyond(past, now, sign).sum(axis=1)
    spread = np.maximum(top - bottom, 8 * sigma)
    edge = np.where(sign > 0, top, bottom)
    move = now - before
    return Levels(
        roles=window.roles,
        now=now,
        usual=hour_usual,
        sigma=hour_sigma,
        scale=sigma,
        beyond=beyond,
        known=np.isfinite(past),
        columns={
            "now": np.arcsinh(far / sigma),
            "hour": np.arcsinh((now - hour_usual) / hour_sigma),
            "day": np.arcsinh((now - day_usual) / sigma),
            "change": np.arcsinh(move / sigma),
            "tail": -sign * np.log10((outside + 1) / (count + 1)),
            "again": _share(at_hour, known_days),
            "ordinary": _share(at_all, known_days),
            "lasts": np.log10(lasts + 0.005),
            "ramp": np.clip((now - quarter) / np.where(np.abs(move) > sigma, move, np.nan), -2, 2),
            "five": np.arcsinh((five - usual) / sigma),
            "thirty": np.arcsinh((thirty - usual) / sigma),
            "climb": np.arcsinh(climb / sigma),
            "straight": straight,
            "jump": jump,
            "recent_jump": recent_jump,
            "jitter": np.log10(jitter / sigma + 1e-3),
            "saturated": np.clip(far / spread, -3, 3),
            "episodes": np.log10(episodes / np.maximum(known_days, 1) + 0.05),
            "beyond_max": np.arcsinh(sign * (now - edge) / sigma),
            "reach": np.clip((now - usual) / np.maximum(np.abs(usual), sigma), -5, 20),
            "quarter": _turn(history, five, sigma, 3),
            "turn": _turn(history, five, sigma, 12),
            **_local(recent, five, sigma, top - bottom),
        },
    )


def _quantiles(values: Floats, count: NDArray[np.int64], at: tuple[float, ...]) -> list[Floats]:
    """By row, the nearest rank among the `count` that are known."""
    rows = np.arange(len(values))
    last = np.maximum(count - 1, 0)
    ranks = [np.rint(last * q).astype(np.int64) for q in at]
    # Only these ranks are put in their place, which a whole sort would take thrice the time for.
    placed = np.partition(values, np.unique(np.concatenate(ranks)), axis=1)
    return [placed[rows, rank] for rank in ranks]


def _median(values: Floats) -> Floats:
    """By row, NaN left out; NaN where nothing is left."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    low = ordered[rows, np.maximum(count - 1, 0) // 2]
    high = ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]
    return np.where(count > 0, (low + high) / 2, np.nan)


def _course(
    history: Floats, recent: Floats, now: Floats, sigma: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """How the present was reached.

    The way since six hours ago, how straight that way was (1 is without a step back), and the
    share of its largest step, by 5 minutes and by minutes. A leak climbs straight for hours; what
    jumps within minutes was started, not leaked.
    """
    hours = np.column_stack([now, history[:, 1:73]])
    steps = -np.diff(hours, axis=1)
    way = np.nansum(steps, axis=1)
    length = np.nansum(np.abs(steps), axis=1)
    largest = np.nan_to_num(steps) * np.sign(way)[:, None]
    size = np.maximum(np.abs(way), sigma)
    quick = -np.diff(recent, axis=1)
    minutes = np.nansum(quick, axis=1)
    fastest = (np.nan_to_num(quick) * np.sign(minutes)[:, None]).max(axis=1)
    return (
        way,
        way / np.maximum(length, sigma),
        np.clip(largest.max(axis=1) / size, 0, 3),
        np.clip(fastest / np.maximum(np.abs(minutes), sigma), 0, 3),
    )


def _local(recent: Floats, five: Floats, sigma: Floats, span: Floats) -> dict[str, Floats]:
    """The last minutes against the two hours before them, whatever the days were like.

    How far they are, how steadily the last forty minutes led there, and how much of that was one
    step.
    """
    before = recent[:, 40:]
    usual = _or(_median(before), _median(recent))
    noise = 1.4826 * np.nan_to_num(_median(np.abs(before - usual[:, None])))
    noise = np.maximum.reduce([noise, 2e-3 * np.abs(usual), 2e-3 * span, 0.02 * sigma])
    smooth = np.column_stack([_median(recent[:, at : at + 5]) for at in range(0, 45, 5)])
    steps = -np.diff(smooth, axis=1)
    way = np.nansum(steps, axis=1)
    size = np.maximum(np.abs(way), noise)
    toward = np.nan_to_num(steps) * np.sign(way)[:, None]
    return {
        "local": np.arcsinh((five - usual) / noise),
        "steady": way / np.maximum(np.nansum(np.abs(steps), axis=1), noise),
        "abrupt": np.clip(toward.max(axis=1) / size, 0, 3),
    }


def _turn(history: Floats, five: Floats, sigma: Floats, slots: int) -> Floats:
    """The change over so many slots, against how much the role usually changes in that time."""
    if history.shape[1] <= slots + DAY_SLOTS // 8:
        return np.full(len(five), np.nan)
    usual = np.abs(history[:, 1:-slots] - history[:, 1 + slots :])
    count = np.isfinite(usual).sum(axis=1)
    middle, high = _quantiles(usual, count, (0.5, 0.99))
    scale = np.maximum.reduce([middle / 0.6745, high / 2.5, 0.02 * sigma])
    return np.asarray(np.arcsinh((five - history[:, slots]) / scale))


def _or(values: Floats, other: Floats) -> Floats:
    return np.where(np.isfinite(values), values, other)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _beyond(past: Floats, level: Floats, sign: Floats) -> NDArray[np.bool_]:
    """Where the past lies at or beyond a level, on the side that `sign` says."""
    with np.errstate(invalid="ignore"):
        return np.asarray(past * sign[:, None] >= (level * sign)[:, None])


def _hour(window: Window, usual: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Median and deviation at this hour on earlier days; of all days where that is too little."""
    slots = window.history.shape[1]
    days = np.arange(1, slots // DAY_SLOTS + 1)[:, None] * DAY_SLOTS
    near = (days + np.arange(-_HOUR_SLOTS, _HOUR_SLOTS)).ravel()
    values = window.history[:, near[near < slots]]
    enough = np.isfinite(values).sum(axis=1) >= _LEAST_DAYS_SLOTS
    if not enough.any():
        return usual, sigma
    middle = _or(_median(values), usual)
    spread = 1.4826 * _median(np.abs(values - middle[:, None]))
    spread = np.maximum(np.nan_to_num(spread), sigma / 2)
    return np.where(enough, middle, usual), np.where(enough, spread, sigma)


def _days(window: Window, beyond: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats]:
    """By role: days known, those beyond at this hour, those beyond at any, and crossings."""
    rows, slots = beyond.shape
    days = (slots + _NEWEST_LEFT_OUT - DAY_SLOTS // 2) // DAY_SLOTS
    episodes = (beyond[:, :-1] & ~beyond[:, 1:]).sum(axis=1).astype(np.float64)
    if days < 1:
        zero = np.zeros(rows)
        return zero, zero, zero, episodes
    start = DAY_SLOTS // 2 - _NEWEST_LEFT_OUT
    by_day = beyond[:, start : start + days * DAY_SLOTS].reshape(rows, days, DAY_SLOTS)
    past = window.history[:, _NEWEST_LEFT_OUT:]
    known = np.isfinite(past[:, start : start + days * DAY_SLOTS]).reshape(by_day.shape)
    around = slice(DAY_SLOTS // 2 - _HOUR_SLOTS, DAY_SLOTS // 2 + _HOUR_SLOTS)
    known_hour = known[:, :, around].any(axis=2)
    return (
        known_hour.sum(axis=1).astype(np.float64),
        by_day[:, :, around].any(axis=2).sum(axis=1).astype(np.float64),
        (by_day.any(axis=2) & known_hour).sum(axis=1).astype(np.float64),
        episodes,
    )


def _by_group(levels: Levels, group_of: NDArray[np.int64]) -> Floats:
    """Of each group the role that has moved the most."""
    table = np.full((len(_GROUP_NAMES), len(_PER_GROUP)), np.nan)
    strength = np.abs(levels.columns["now"])
    for group in np.unique(group_of[group_of >= 0]):
        members = np.flatnonzero(group_of == group)
        most = members[np.argmax(strength[members])]
        table[group] = [levels.columns[what][most] for what in _PER_GROUP]
    return table.ravel()


def _asked_groups(
    levels: Levels, group_of: NDArray[np.int64], is_asked: NDArray[np.bool_]
) -> Floats:
    """1 where the alert speaks of the group's rise, -1 of its fall, 0 where it does not."""
    flags = np.zeros(len(_GROUP_NAMES))
    for row in np.flatnonzero(is_asked & (group_of >= 0)):
        flags[group_of[row]] = 1.0 if levels.columns["now"][row] >= 0 else -1.0
    return flags


def _lead(levels: Levels, is_asked: NDArray[np.bool_]) -> int:
    strength = np.abs(levels.columns["now"])
    return int(np.argmax(np.where(is_asked, strength + 1e3, strength)))


def _whole(
    window: Window,
    levels: Levels,
    group_of: NDArray[np.int64],
    is_asked: NDArray[np.bool_],
) -> list[float]:
    z = levels.columns["now"]
    risen, fallen = z >= MOVED, z <= -MOVED
    rows = len(z)
    state = _State.of(window, levels)
    traffic = [row for row, role in enumerate(window.roles) if role in _TRAFFIC]
    strongest = np.sort(np.abs(z))[::-1]
    return [
        float(rows),
        window.history.shape[1] / DAY_SLOTS,
        float(is_asked.sum()),
        float(risen.sum()),
        float(fallen.sum()),
        float(risen.mean()),
        float(fallen.mean()),
        float(len(np.unique(group_of[risen]))),
        float(len(np.unique(group_of[fallen]))),
        *state.residual(),
        *state.nearest(),
        *state.unexplained(traffic, group_of),
        float(np.median(z[traffic])) if traffic else np.nan,
        float(np.min(z[traffic])) if traffic else np.nan,
        float(strongest[0]),
        float(strongest[1]) if rows > 1 else np.nan,
        state.restless(),
        *_turned(levels, group_of),
        *_Plain.of(window).measures(),
        *_recurring(levels, is_asked),
        *_nearby(levels, group_of),
    ]


def _nearby(levels: Levels, group_of: NDArray[np.int64]) -> tuple[float, ...]:
    """How many roles and groups have just left the level of the last two hours."""
    size = np.abs(np.nan_to_num(levels.columns["local"]))
    left = size >= np.arcsinh(6.0)
    ordered = np.sort(size)[::-1]
    return (
        float(left.mean()),
        float(len(np.unique(group_of[left]))),
        float(ordered[1]) if len(ordered) > 1 else np.nan,
    )


def _recurring(levels: Levels, is_asked: NDArray[np.bool_]) -> tuple[float, ...]:
    """On which earlier days the same was there at this hour.

    First of the leading role alone, then of most of what has moved together.
    """
    beyond, known = levels.beyond, levels.known
    moved = np.abs(levels.columns["now"]) >= MOVED
    lead = _lead(levels, is_asked)
    moved[lead] = True
    together = np.asarray(beyond[moved].mean(axis=0) >= _TOGETHER)
    any_known = np.asarray(known[moved].any(axis=0))
    return (*_days_of(beyond[lead], known[lead]), *_days_of(together, any_known))


def _days_of(hit: NDArray[np.bool_], known: NDArray[np.bool_]) -> tuple[float, ...]:
    age = np.arange(len(hit)) + _NEWEST_LEFT_OUT
    day = (age + DAY_SLOTS // 2) // DAY_SLOTS
    near = np.abs((age + DAY_SLOTS // 2) % DAY_SLOTS - DAY_SLOTS // 2) <= _JOB_SLOTS
    earlier = day > 0
    days = int(day[-1]) + 1
    at_hour = np.bincount(day[hit & near & earlier], minlength=days)[1:] > 0
    seen = np.bincount(day[known & near & earlier], minlength=days)[1:] > 0
    if not seen.any():
        return (np.nan,) * 6
    hits = float((hit & earlier).sum())
    return (
        float(at_hour[:3].sum() / max(seen[:3].sum(), 1)),
        float(at_hour[:7].sum() / max(seen[:7].sum(), 1)),
        float(at_hour.sum() / seen.sum()),
        float((hit & near & earlier).sum() / hits) if hits else 0.0,
        float(np.log10((hits + 0.3) / (known & earlier).sum()))
        if (known & earlier).any()
        else np.nan,
        float(at_hour[6::7].any()),
    )


def _turned(levels: Levels, group_of: NDArray[np.int64]) -> tuple[float, ...]:
    """How many roles and groups are just changing as they rarely do, and how much."""
    size = np.nan_to_num(np.fmax(np.abs(levels.columns["quarter"]), np.abs(levels.columns["turn"])))
    turned = size >= np.arcsinh(3.0)
    ordered = np.sort(size)[::-1]
    return (
        float(turned.mean()),
        float(len(np.unique(group_of[turned]))),
        float(ordered[0]),
        float(ordered[1]) if len(ordered) > 1 else np.nan,
    )


@dataclass(frozen=True)
class _State:
    """The target's moments as points: `past` [slots, roles] and `now` [roles], in sigmas."""

    past: Floats
    now: Floats
    hour_slots: NDArray[np.int64]

    @classmethod
    def of(cls, window: Window, levels: Levels) -> "_State":
        # The squashed scale keeps one wild role from hiding all the others.
        usual = _or(_median(window.history), levels.usual)[:, None]
        past = np.arcsinh((window.history[:, _NEWEST_LEFT_OUT:] - usual) / levels.scale[:, None])
        age = np.arange(past.shape[1]) + _NEWEST_LEFT_OUT
        return cls(np.nan_to_num(past.T), np.nan_to_num(levels.columns["now"]), age)

    def residual(self) -> tuple[float, float]:
        """How unusual the present is off the past's main directions: tail and size."""
        rows = len(self.now)
        if rows < 3:  # noqa: PLR2004 - a plane needs room beside it
            return np.nan, np.nan
        centre = self.past.mean(axis=0)
        centred = self.past - centre
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        share = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-12)
        kept = min(int(np.searchsorted(share, 0.9)) + 1, rows - 1)
        rest = vectors[:, : rows - kept]
        off = ((centred @ rest) ** 2).sum(axis=1)
        mine = float((((self.now - centre) @ rest) ** 2).sum())
        above = float((off >= mine).sum() + 1) / (len(off) + 1)
        return -float(np.log10(above)), float(np.log10((mine + 1e-3) / (np.median(off) + 1e-3)))

    def nearest(self) -> tuple[float, float, float, float]:
        """How far the most similar moments of the past are, and on how many days they were."""
        distance = np.sqrt(((self.past - self.now) ** 2).mean(axis=1))
        size = float(np.sqrt((self.now**2).mean()))
        near = np.partition(distance, min(10, len(distance) - 1))[min(10, len(distance) - 1)]
        alike = distance <= 0.35 * max(size, 1.0)
        day = (self.hour_slots + DAY_SLOTS // 2) // DAY_SLOTS
        days = max(int(day[-1]), 1)
        off = np.abs((self.hour_slots + DAY_SLOTS // 2) % DAY_SLOTS - DAY_SLOTS // 2)
        earlier = alike & (day > 0)
        return (
            float(near / max(size, 0.3)),
            float(np.log10(near + 1e-2)),
            len(np.unique(day[earlier])) / days,
            len(np.unique(day[earlier & (off <= _HOUR_SLOTS)])) / days,
        )

    def unexplained(
        self, traffic: list[int], group_of: NDArray[np.int64]
    ) -> tuple[float, float, float, float]:
        """What is left of a group's level once the target's own traffic is taken out."""
        wanted = [_GROUP_NAMES.index(one) for one in ("cpu", "load", "connections", "opens")]
        if not traffic:
            return (np.nan,) * 4
        known = np.column_stack([self.past[:, traffic], np.ones(len(self.past))])
        weights = known.T @ known + np.eye(known.shape[1]) * (0.01 * len(known))
        mine = np.append(self.now[traffic], 1.0)
        found = []
        for group in wanted:
            rows = np.flatnonzero(group_of == group)
            if not len(rows):
                found.append(np.nan)
                continue
            row = rows[np.argmax(np.abs(self.now[rows]))]
            line = np.linalg.solve(weights, known.T @ self.past[:, row])
            spread = float(np.std(self.past[:, row] - known @ line))
            found.append(float(np.arcsinh((self.now[row] - mine @ line) / max(spread, 0.3))))
        return found[0], found[1], found[2], found[3]

    def restless(self) -> float:
        """How often this target has some role far out, in log10 of the share of moments."""
        return float(np.log10((np.abs(self.past) >= MOVED).any(axis=1).mean() + 1e-3))


@dataclass(frozen=True)
class _Plain:
    """The target's moments in plain standard deviations, where size counts as it is.

    On labels of real machines the distance to the 30th nearest moment of the own past ranked
    alerts better than any other single number (docs/model.md).
    """

    past: Floats
    now: Floats
    top: Floats
    bottom: Floats

    @classmethod
    def of(cls, window: Window) -> "_Plain":
        past = window.history[:, _NEWEST_LEFT_OUT:]
        now = _or(window.history[:, 0], window.now)
        usual = _median(past)
        still = np.nanstd(past, axis=1)
        spread = still + 1e-3 * (np.nanmax(past, axis=1) - np.nanmin(past, axis=1))
        moves = still > _STILL * np.maximum(np.abs(usual), still)
        past = (past[moves] - usual[moves, None]) / spread[moves, None]
        top, bottom = _quantiles(past, np.isfinite(past).sum(axis=1), (0.995, 0.005))
        return cls(np.nan_to_num(past.T), (now[moves] - usual[moves]) / spread[moves], top, bottom)

    def measures(self) -> tuple[float, ...]:
        if not len(self.now):
            return (np.nan,) * 15
        z = np.abs(self.now)
        sizes = np.sqrt((np.clip(self.past, -8, 8) ** 2).mean(axis=1))
        size = float(np.sqrt((np.clip(z, 0, 8) ** 2).mean()))
        high = float(np.quantile(sizes, 0.99))
        precise = np.linalg.inv(self.past.T @ self.past / len(self.past) + 0.05 * np.eye(len(z)))
        apart = ((self.past @ precise) * self.past).sum(axis=1)
        mine = float(self.now @ precise @ self.now)
        near = [
            self._near(*how) for how in ((8.0, 2, 5), (8.0, 2, 30), (3.0, 1, 30), (30.0, 1, 30))
        ]
        beyond = np.maximum(self.now - self.top, self.bottom - self.now)
        return (
            float((z > _FAR_SD).mean()),
            float((z > 2 * _FAR_SD).mean()),
            float(np.maximum(np.arcsinh(beyond), 0).mean()),
            size,
            size / max(high, 1e-3),
            -float(np.log10(((sizes >= size).sum() + 1) / (len(sizes) + 1))),
            float(np.log10(mine / len(z) + 1e-3)),
            float(np.log10(mine / max(float(np.quantile(apart, 0.99)), 1e-3) + 1e-3)),
            -float(np.log10(((apart >= mine).sum() + 1) / (len(apart) + 1))),
            *near,
            float(np.median(sizes)),
            high,
        )

    def _near(self, clip: float, power: int, rank: int) -> float:
        off = np.abs(np.clip(self.past, -clip, clip) - np.clip(self.now, -clip, clip)) ** power
        distance = off.mean(axis=1)
        rank = min(rank, len(distance) - 1)
        return float(np.partition(distance, rank)[rank] ** (1 / power))
