"""A metric around a decision: its line, its usual band, its siblings, and the events of the run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from models.features.signals import ROLES, Role
from receiver.html import svg
from receiver.html.axes import Scale, minute_ticks, round_ticks

_WIDTH, _HEIGHT = 960.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 44.0, 24.0
# Events are named in three rows, so that names of close events do not overlap.
_ROW, _ROWS, _LETTER = 14.0, 3, 7.5
# A line is broken between samples that are further apart than this: the metric was missing.
_GAP_S = 180.0
# Seconds between two values of the usual band.
_SLOT_S = 300.0
_AFTER_LEAST_S = 120.0
_BEFORE_LEAST_S, _BEFORE_MOST_S, _BEFORE_OF_AFTER = 900.0, 1_800.0, 2.0
_NAMES = {"cpu": "CPU", "tcp": "TCP", "load1": "Load (1 min)", "load5": "Load (5 min)"}

Points = Sequence[Sequence[float]]


class Event(NamedTuple):
    """An event of the run, `at` seconds after the decision."""

    at: float
    text: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot; `text` is the description of `svg` in words."""

    title: str
    svg: Markup
    text: str


@dataclass(frozen=True, kw_only=True)
class _Metric:
    """Points are `[seconds after the decision, value]`, in `usual` `[..., low, middle, high]`."""

    role: "Role | _Number"
    own: Points
    usual: Points
    siblings: Sequence[Points]
    bound: float | None = None

    def values(self) -> list[float]:
        return [
            *([] if self.bound is None else [self.bound]),
            *(value for _, value in self.own),
            *(high for _, _, _, high in self.usual),
            *(value for points in self.siblings for _, value in points),
        ]


def run_events(run: Mapping[str, Any]) -> list[Event]:
    """The alert, each call to AWS about what the plan acts on, and the recovery."""
    decided_at = float(run["evidence"]["at"])
    events = [(run["alert"]["starts_at"], "alert", "bad")]
    acted_on = {run["target"], (run["plan"] or {}).get("target")}
    for step in run["steps"]:
        if step["target"] not in acted_on:
            # Lent by its group, and given back.
            continue
        if step["undoes"] is not None:
            events.append((step["dispatched_at"], "rollback", "bad"))
        else:
            action = step["action"].replace("_instance", "").replace("_", " ")
            events.append((step["dispatched_at"], action, "busy"))
    if run["state"] == "succeeded":
        events.append((run["ended_at"], "recovered", "good"))
    return [
        Event(datetime.fromisoformat(time).timestamp() - decided_at, text, tone)
        for time, text, tone in events
        if time is not None
    ]


def metric_plot(
    plot_data: Mapping[str, Any],
    decided_at: float,
    events: Sequence[Event],
    after: Points,
    end_s: float,
) -> Plot:
    """Plot a metric; `after` continues it until `end_s` after `decided_at` (epoch seconds)."""
    last = max(_AFTER_LEAST_S, end_s)
    x = Scale(
        low=-max(_BEFORE_LEAST_S, min(_BEFORE_MOST_S, _BEFORE_OF_AFTER * last)),
        # Room for the name of the last event.
        high=1.15 * last + 60.0,
        start=_LEFT,
        end=_WIDTH - _RIGHT,
    )
    metric = _Metric(
        role=ROLES[plot_data["role"]],
        own=[*plot_data["own"], *(point for point in after if point[0] > 0)],
        usual=[slot for slot in plot_data["usual"] if x.low - _SLOT_S < slot[0] < x.high + _SLOT_S],
        siblings=plot_data["siblings"],
    )
    text = "; ".join([*_sentences(metric), *map(_event_text, events)]) + "."
    title = _title(ROLES[plot_data["role"]].name)
    parts = _parts(
        metric, decided_at, [event for event in events if x.low <= event.at <= x.high], x
    )
    picture = svg.picture(_WIDTH, _HEIGHT, f"{title}. {text}", parts, class_="plot")
    return Plot(title=title, svg=picture, text=text)


@dataclass(frozen=True, kw_only=True)
class _Number:
    """Values without a unit, in the place of a role."""

    noise: float = 0.0

    def text(self, value: float) -> str:
        return f"{value:.4g}"


class Condition(NamedTuple):
    """What a condition measures, a line for each series, and the `bound` that it is held against.

    Points are `[seconds after the decision, value]`.
    """

    text: str
    bound: float | None
    series: Sequence[Points]


def condition_plot(
    condition: Condition, decided_at: float, events: Sequence[Event], end_s: float
) -> Plot:
    """Plot a condition until `end_s` after `decided_at` (epoch seconds); the bound is dashed."""
    last = max(_AFTER_LEAST_S, end_s)
    x = Scale(low=-_BEFORE_MOST_S, high=1.15 * last + 60.0, start=_LEFT, end=_WIDTH - _RIGHT)
    own, *others = condition.series or [[]]
    metric = _Metric(role=_Number(), own=own, usual=[], siblings=others, bound=condition.bound)
    before = [value for time, value in own if time <= 0]
    sentences = [f"{metric.role.text(before[-1])} at the decision"] if before else []
    text = "; ".join([*sentences, *map(_event_text, events)]) + "."
    inside = [event for event in events if x.low <= event.at <= x.high]
    parts = _parts(metric, decided_at, inside, x)
    picture = svg.picture(_WIDTH, _HEIGHT, f"{condition.text}. {text}", parts, class_="plot")
    return Plot(title=condition.text, svg=picture, text=text)


def _parts(
    metric: _Metric, decided_at: float, events: Sequence[Event], x: Scale
) -> Iterator[Markup]:
    values, noise = metric.values(), metric.role.noise
    # Counters that are read at slightly different moments give a busy share just below nothing.
    least = min(values, default=0.0)
    ticks = round_ticks(least if least < -noise else 0.0, max([noise, *values]))
    y = Scale(low=ticks[0], high=ticks[-1], start=_HEIGHT - _BOTTOM, end=_TOP)
    for tick in ticks:
        yield svg.horizontal(y.position(tick), _LEFT, _WIDTH - _RIGHT, "grid")
        yield svg.label(_LEFT - 8, y.position(tick) + 4, metric.role.text(tick), "end")
    for time in minute_ticks(decided_at + x.low, decided_at + x.high):
        text = f"{datetime.fromtimestamp(time, UTC):%H:%M}"
        yield svg.label(x.position(time - decided_at), _HEIGHT - 6, text, "middle")
    if metric.usual:
        yield from _band(metric.usual, x, y)
    if metric.bound is not None:
        yield svg.horizontal(y.position(metric.bound), _LEFT, _WIDTH - _RIGHT, "ideal")
    for points in metric.siblings:
        yield _line("sibling", points, x, y)
    yield _line("own", metric.own, x, y)
    for number, event in enumerate(sorted(events)):
        yield _mark(event, x.position(event.at), 11 + _ROW * (number % _ROWS))


def _band(usual: Points, x: Scale, y: Scale) -> Iterator[Markup]:
    # The plot ends between two slots, so the outermost slots lie outside it.
    places = [min(x.end, max(x.start, x.position(slot[0]))) for slot in usual]
    low, middle, high = (
        [(place, y.position(slot[column])) for place, slot in zip(places, usual, strict=True)]
        for column in (1, 2, 3)
    )
    yield svg.area(high + low[::-1], "usual")
    yield svg.line(middle, "middle")


def _line(class_: str, points: Points, x: Scale, y: Scale) -> Markup:
    inside = [(time, value) for time, value in points if x.low <= time <= x.high]
    gaps = [
        number
        for number, (before, after) in enumerate(pairwise(inside), start=1)
        if after[0] - before[0] > _GAP_S
    ]
    pieces = [inside[start:end] for start, end in pairwise([0, *gaps, len(inside)])]
    drawn = [[(x.position(time), y.position(value)) for time, value in piece] for piece in pieces]
    return svg.broken_line(drawn, class_)


def _mark(event: Event, x: float, row: float) -> Markup:
    """A vertical line with the event's name to its right, or to its left at the plot's end."""
    left = x + _LETTER * len(event.text) + 5 > _WIDTH
    return svg.element(
        "g",
        svg.vertical(x, row - 9, _HEIGHT - _BOTTOM),
        svg.label(x - 5 if left else x + 5, row, event.text, "end" if left else "start"),
        class_=f"mark {event.tone}",
    )


def _title(role: str) -> str:
    title = _NAMES.get(role) or " ".join(_NAMES.get(word, word) for word in role.split("_"))
    return title[0].upper() + title[1:]


def _sentences(metric: _Metric) -> Iterator[str]:
    text = metric.role.text
    before = [value for time, value in metric.own if time <= 0]
    if before:
        yield f"{text(before[-1])} at the decision"
    if metric.usual:
        _, low, _, high = min(metric.usual, key=lambda slot: abs(slot[0]))
        yield f"mostly {_range(text(low), text(high))} at this hour on other days"
    latest = [points[-1][1] for points in metric.siblings if points]
    if latest:
        yield f"{len(latest)} siblings at {_range(text(min(latest)), text(max(latest)))}"
    if metric.own and metric.own[-1][0] > 0:
        yield f"{text(metric.own[-1][1])} at the end"


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _event_text(event: Event) -> str:
    return (
        f"{event.text} {abs(event.at):.0f} s {'before' if event.at < 0 else 'after'} the decision"
    )
