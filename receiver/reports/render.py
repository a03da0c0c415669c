"""A report as one HTML file that needs nothing else, and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_WIDTH, _HEIGHT = 640, 140
_SLOT_MOST = 64.0
_EDGES = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)
# A spreadsheet takes what begins so for a formula, and alerts say what they like.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Bar:
    """A bar of a plot, in its own units."""

    x: float
    y: float
    width: float
    height: float
    label: str
    count: int


def html(report: Mapping[str, Any]) -> str:
    """Every value escaped; plots are drawn inline."""
    env = Environment(
        loader=PackageLoader("receiver.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(value=_value, share=_percent)
    times = report["figures"]["time_to_action"]["more"]["times_s"]
    return env.get_template("report.html.j2").render(
        report=report,
        width=_WIDTH,
        height=_HEIGHT,
        days=_bars(_days(report)) if report["incidents"]["total"] else [],
        times=_bars(_spread(times)) if times else [],
    )


def csv_text(report: Mapping[str, Any]) -> str:
    """An incident a line, with a heading."""
    items: Sequence[Mapping[str, Any]] = report["incidents"]["items"]
    out = io.StringIO()
    written = csv.writer(out, lineterminator="\r\n")
    names = list(items[0]) if items else ["run"]
    written.writerow(names)
    written.writerows([_cell(one[name]) for name in names] for one in items)
    return out.getvalue()


def _cell(value: object) -> str:
    many = value if isinstance(value, list) else [] if value is None else [value]
    text = "; ".join(map(str, many))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _days(report: Mapping[str, Any]) -> Mapping[str, int]:
    """Incidents of each day of the period, those without any included."""
    first, last = (date.fromisoformat(report["period"][one][:10]) for one in ("since", "until"))
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    found = report["incidents"]["by_day"]
    return {str(day): found.get(str(day), 0) for day in every}


def _spread(times: Sequence[float]) -> Mapping[str, int]:
    """How many took how long."""
    found, low = {}, 0.0
    for edge in _EDGES:
        found[f"{low:g}-{edge} s"] = sum(low < one <= edge or one == low == 0 for one in times)
        low = float(edge)
    return found | {f"over {low:g} s": sum(one > low for one in times)}


def _bars(counts: Mapping[str, int]) -> list[Bar]:
    most, slot = max(counts.values(), default=0), min(_SLOT_MOST, _WIDTH / max(1, len(counts)))
    return [
        Bar(
            x=round(number * slot + 1, 1),
            y=round(_HEIGHT - _HEIGHT * count / most, 1) if most else _HEIGHT,
            width=round(max(1.0, slot - 2), 1),
            height=round(_HEIGHT * count / most, 1) if most else 0,
            label=label,
            count=count,
        )
        for number, (label, count) in enumerate(counts.items())
    ]


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"unknown: {figure['reason']}"
    if figure["unit"] == "share":
        return _percent(figure["value"])
    return f"{figure['value']:.4g} {figure['unit']}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"
