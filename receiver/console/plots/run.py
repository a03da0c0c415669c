"""A metric around a run's decision: its line, its usual band, its siblings, and what was done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from markupsafe import Markup

from models.features.signals import ROLES
from receiver.console.plots.axes import Scale, moments, nice

_WIDTH, _HEIGHT = 960.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 44.0, 24.0
_ROW, _ROWS, _LETTER = 14.0, 3, 7.5
_GAP_S, _SLOT_S = 180.0, 300.0
_LEAST_AFTER_S = 120.0
_LEAST_BEFORE_S, _MOST_BEFORE_S, _BEFORE_OF_AFTER = 900.0, 1_800.0, 2.0
_NAMES = {"cpu": "CPU", "tcp": "TCP", "load1": "Load (1 min)", "load5": "Load (5 min)"}

Points = Sequence[Sequence[float]]


class Mark(NamedTuple):
    """Something that happened, `at` so many seconds after the decision."""

    at: float
    text: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """`text` says what `svg` shows."""

    title: str
    svg: Markup
    text: str


def marks(run: Mapping[str, Any]) -> list[Mark]:
    """The alert, what was sent to AWS, and how it ended."""
    at = float(run["evidence"]["at"])
    found = [(run["alert"]["starts_at"], "alert", "bad")]
    for step in run["steps"]:
        undo = step["undoes"] is not None
        said = "undo" if undo else step["action"].replace("_instance", "").replace("_", " ")
        found.append((step["dispatched_at"], said, "bad" if undo else "busy"))
    if run["state"] == "succeeded":
        found.append((run["ended_at"], "recovered", "good"))
    return [
        Mark(datetime.fromisoformat(moment).timestamp() - at, text, tone)
        for moment, text, tone in found
        if moment is not None
    ]


def plot(
    sketch: Mapping[str, Any], at: float, happened: Sequence[Mark], after: Points, end_s: float
) -> Plot:
    """`at` in epoch seconds; `after` is how the metric went on, up to `end_s` seconds after it."""
    role = ROLES[sketch["role"]]
    own = [*sketch["own"], *(one for one in after if one[0] > 0)]
    last = max(_LEAST_AFTER_S, end_s)
    x = Scale(
        low=-max(_LEAST_BEFORE_S, min(_MOST_BEFORE_S, _BEFORE_OF_AFTER * last)),
        # Room for the name of what happened last.
        high=1.15 * last + 60.0,
        start=_LEFT,
        end=_WIDTH - _RIGHT,
    )
    usual = [one for one in sketch["usual"] if x.low - _SLOT_S < one[0] < x.high + _SLOT_S]
    shown = [value for _, value in own] + [one[3] for one in usual]
    shown += [value for line in sketch["siblings"] for _, value in line]
    ticks = nice(min([0.0, *shown]), max([role.noise, *shown]))
    y = Scale(low=ticks[0], high=ticks[-1], start=_HEIGHT - _BOTTOM, end=_TOP)
    parts = [
        *(_level(y.of(tick), role.text(tick)) for tick in ticks),
        *(_hour(x.of(moment - at), moment) for moment in moments(at + x.low, at + x.high)),
        _band(usual, x, y),
        *(_line("sibling", line, x, y) for line in sketch["siblings"]),
        _line("own", own, x, y),
        *_marked([one for one in happened if x.low <= one.at <= x.high], x),
    ]
    text = _said(role.text, own, usual, sketch["siblings"], happened)
    title = _NAMES.get(role.name) or " ".join(
        _NAMES.get(word, word) for word in role.name.split("_")
    )
    svg = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    whole = svg.format(f"{_WIDTH:g}", f"{_HEIGHT:g}", f"{title}. {text}", Markup("").join(parts))
    return Plot(title=title[0].upper() + title[1:], svg=whole, text=text)


def _level(y: float, text: str) -> Markup:
    return Markup(
        '<path class="grid" d="M{} {}H{}"/><text class="end" x="{}" y="{}">{}</text>'
    ).format(_LEFT, f"{y:.1f}", _WIDTH - _RIGHT, _LEFT - 8, f"{y + 4:.1f}", text)


def _hour(x: float, moment: float) -> Markup:
    text = f"{datetime.fromtimestamp(moment, UTC):%H:%M}"
    return Markup('<text class="middle" x="{}" y="{}">{}</text>').format(
        f"{x:.1f}", _HEIGHT - 6, text
    )


def _band(usual: Points, x: Scale, y: Scale) -> Markup:
    if not usual:
        return Markup("")
    # The outermost slots lie beyond the plot, which ends between two of them.
    places = [f"{min(x.end, max(x.start, x.of(one[0]))):.1f}" for one in usual]
    upper, lower, middle = (
        [f"{at},{y.of(one[part]):.1f}" for at, one in zip(places, usual, strict=True)]
        for part in (3, 1, 2)
    )
    return Markup(
        '<polygon class="usual" points="{}"/><polyline class="middle" points="{}"/>'
    ).format(" ".join(upper + lower[::-1]), " ".join(middle))


def _line(kind: str, points: Points, x: Scale, y: Scale) -> Markup:
    """Broken where nothing was known for long."""
    path, last = [], None
    for time, value in points:
        if not x.low <= time <= x.high:
            continue
        pen = "M" if last is None or time - last > _GAP_S else "L"
        path.append(f"{pen}{x.of(time):.1f} {y.of(value):.1f}")
        last = time
    return Markup('<path class="{}" d="{}"/>').format(kind, "".join(path))


def _marked(happened: Sequence[Mark], x: Scale) -> list[Markup]:
    """Each a line with its name above, on rows in turn."""
    found = []
    for number, one in enumerate(sorted(happened)):
        at = x.of(one.at)
        flip = at + _LETTER * len(one.text) + 5 > _WIDTH
        top = 11 + _ROW * (number % _ROWS)
        found.append(
            Markup(
                '<g class="mark {}"><path d="M{} {}V{}"/>'
                '<text class="{}" x="{}" y="{}">{}</text></g>'
            ).format(
                one.tone,
                f"{at:.1f}",
                top - 9,
                _HEIGHT - _BOTTOM,
                "end" if flip else "start",
                f"{at - 5 if flip else at + 5:.1f}",
                top,
                one.text,
            )
        )
    return found


def _said(
    text: Any,
    own: Points,
    usual: Points,
    siblings: Sequence[Points],
    happened: Sequence[Mark],
) -> str:
    said = []
    before = [value for time, value in own if time <= 0]
    if before:
        said.append(f"{text(before[-1])} when it was decided")
    if usual:
        nearest = min(usual, key=lambda one: abs(one[0]))
        low, high = text(nearest[1]), text(nearest[3])
        said.append(f"usually {low if low == high else f'{low} to {high}'} at this hour")
    lasts = [line[-1][1] for line in siblings if line]
    if lasts:
        low, high = text(min(lasts)), text(max(lasts))
        said.append(f"{len(lasts)} siblings at {low if low == high else f'{low} to {high}'}")
    if own and own[-1][0] > 0:
        said.append(f"{text(own[-1][1])} at the end")
    for one in happened:
        when = "before" if one.at < 0 else "after"
        said.append(f"{one.text} {abs(one.at):.0f} s {when} the decision")
    return "; ".join(said) + "."
