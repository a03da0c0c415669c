"""Draws counts as bars."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from receiver.html import svg

_WIDTH, _HEIGHT = 640.0, 140.0
_ABOVE, _BELOW = 12.0, 22.0
_SLOT_MOST, _GAP = 64.0, 2.0
# With more bars than this, labels would overlap, so only every seventh bar (of days: one a week)
# has a label.
_LABELLED_MOST, _LABEL_EVERY = 12, 7
_STRIP_WIDTH, _STRIP_HEIGHT = 100.0, 4.0
_SMALL_WIDTH, _SMALL_HEIGHT = 140.0, 32.0


@dataclass(frozen=True)
class Share:
    """One part of a strip; `tone` is a class of the stylesheet."""

    text: str
    tone: str
    count: int


def bar_plot(counts: Mapping[str, int], title: str) -> Markup:
    """A bar for each label, with its count above it."""
    slot = min(_SLOT_MOST, _WIDTH / max(1, len(counts)))
    highest = max(counts.values(), default=0) or 1
    every = 1 if len(counts) <= _LABELLED_MOST else _LABEL_EVERY
    marks = [
        mark
        for number, (label, count) in enumerate(counts.items())
        for mark in (
            *_bar(number * slot + 1, max(1.0, slot - _GAP), count, count / highest, label),
            *_axis_label(number * slot + 1, "" if number % every else label),
        )
    ]
    return svg.picture(_WIDTH, _ABOVE + _HEIGHT + _BELOW, title, marks)


def strip(shares: Sequence[Share]) -> Markup:
    """A strip with the shares of a whole side by side, as wide as the page."""
    total = sum(share.count for share in shares) or 1
    starts = [sum(share.count for share in shares[:number]) for number in range(len(shares))]
    scale = _STRIP_WIDTH / total
    marks = [
        svg.element(
            "rect",
            class_=share.tone,
            x=scale * start,
            width=scale * share.count,
            height=_STRIP_HEIGHT,
        )
        for share, start in zip(shares, starts, strict=True)
        if share.count
    ]
    text = " ".join(f"{share.text}: {share.count}." for share in shares if share.count)
    return svg.picture(
        _STRIP_WIDTH, _STRIP_HEIGHT, text, marks, class_="bar", preserveAspectRatio="none"
    )


def _bar(x: float, width: float, count: int, share: float, label: str) -> Iterable[Markup]:
    top = _ABOVE + _HEIGHT * (1 - share)
    hint = svg.element("title", f"{label}: {count}")
    yield svg.element("rect", hint, x=x, y=top, width=width, height=_HEIGHT * share)
    if count:
        yield svg.label(x, top - 3, str(count))


def _axis_label(x: float, text: str) -> Iterable[Markup]:
    if text:
        yield svg.label(x, _ABOVE + _HEIGHT + 14, text)


def small_bars(counts: Mapping[str, int], title: str, tone: str) -> Markup:
    """A small plot with a bar for each label."""
    highest = max(counts.values(), default=0) or 1
    slot = _SMALL_WIDTH / max(1, len(counts))
    marks = []
    for number, (label, count) in enumerate(counts.items()):
        height = max(1.0, _SMALL_HEIGHT * count / highest) if count else 1.0
        hint = svg.element("title", f"{label}: {count}")
        x, y = number * slot + 1, _SMALL_HEIGHT - height
        marks.append(
            svg.element("rect", hint, class_=tone, x=x, y=y, width=slot - _GAP, height=height)
        )
    text = f"{title}: " + ", ".join(f"{label} {count}" for label, count in counts.items())
    return svg.picture(_SMALL_WIDTH, _SMALL_HEIGHT, text, marks, class_="days")
