"""Plots as small SVG, drawn here: no script, no style of their own, and a text that says the same.

All coordinates are rounded to a tenth: a plot is a few kilobytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_SIDE, _PAD = 260.0, 34.0


def calibration(bins: Sequence[Mapping[str, Any]]) -> Markup | None:
    """How often it was an incident over how sure the model was; None without bins."""
    if not bins:
        return None
    most = max(one["alerts"] for one in bins)
    dots, said = [], []
    for one in bins:
        x, y = _unit(one["confidence"]), _SIDE - _unit(one["incidents"])
        radius = 3 + 7 * (one["alerts"] / most) ** 0.5
        dots.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')
        said.append(
            f"{one['confidence']:.0%} sure: {one['incidents']:.0%} of {one['alerts']} alerts"
        )
    line = " ".join(
        f"{_unit(one['confidence']):.1f},{_SIDE - _unit(one['incidents']):.1f}" for one in bins
    )
    axes = "".join(
        f'<text class="middle" x="{_unit(at):.1f}" y="{_SIDE - _PAD + 16:.1f}">{at:.0%}</text>'
        f'<text class="end" x="{_PAD - 6:.1f}" y="{_SIDE - _unit(at) + 4:.1f}">{at:.0%}</text>'
        f'<path class="grid" d="M{_PAD} {_SIDE - _unit(at):.1f}H{_SIDE - 8}"/>'
        for at in (0.0, 0.5, 1.0)
    )
    ideal = f"M{_unit(0):.1f} {_SIDE - _unit(0):.1f}L{_unit(1):.1f} {_SIDE - _unit(1):.1f}"
    text = Markup("Share of incidents by confidence. {}.").format("; ".join(said))
    return Markup(  # noqa: S704 numbers that were formatted here, and escaped text
        f'<svg class="plot calibration" viewBox="0 0 {_SIDE:g} {_SIDE:g}" role="img" '
        f'aria-label="{text}">{axes}<path class="ideal" d="{ideal}"/>'
        f'<polyline class="line" points="{line}"/>{"".join(dots)}</svg>'
    )


def _unit(share: float) -> float:
    return _PAD + share * (_SIDE - _PAD - 8)
