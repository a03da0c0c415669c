"""The calibration of a model: the share of incidents over the model's confidence."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from receiver.html import svg
from receiver.html.axes import Scale

# Room for the label 100% on both axes.
_SIDE, _PAD, _EDGE = 260.0, 38.0, 16.0
_SHARES = (0.0, 0.5, 1.0)
_X = Scale(low=0.0, high=1.0, start=_PAD, end=_SIDE - _EDGE)
_Y = Scale(low=0.0, high=1.0, start=_SIDE - _PAD, end=_EDGE)


def calibration_plot(bins: Sequence[Mapping[str, Any]]) -> Markup | None:
    """A dot for each bin, larger where it holds more alerts; None without bins."""
    if not bins:
        return None
    largest = max(row["alerts"] for row in bins)
    points = [(_X.position(row["confidence"]), _Y.position(row["incidents"])) for row in bins]
    dots = [
        svg.element("circle", class_="dot", cx=x, cy=y, r=3 + 7 * (row["alerts"] / largest) ** 0.5)
        for (x, y), row in zip(points, bins, strict=True)
    ]
    ideal = [(_X.position(share), _Y.position(share)) for share in (0.0, 1.0)]
    parts = [
        *(mark for share in _SHARES for mark in _axes_at(share)),
        svg.broken_line([ideal], "ideal"),
        svg.line(points, "line"),
        *dots,
    ]
    text = "; ".join(
        f"{row['confidence']:.0%} sure: {row['incidents']:.0%} of {row['alerts']} alerts"
        for row in bins
    )
    text = f"Share of incidents by confidence. {text}."
    return svg.picture(_SIDE, _SIDE, text, parts, class_="plot calibration")


def _axes_at(share: float) -> list[Markup]:
    x, y, text = _X.position(share), _Y.position(share), f"{share:.0%}"
    return [
        svg.label(x, _SIDE - _PAD + 16, text, "middle"),
        svg.label(_PAD - 6, y + 4, text, "end"),
        svg.horizontal(y, _PAD, _SIDE - _EDGE, "grid"),
    ]
