"""A report as one HTML file that needs nothing else, and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from receiver.html.bar_plot import bar_plot
from receiver.html.templates import html_environment

_TEMPLATES = Path(__file__).parent / "templates"
_EDGES = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)
# A spreadsheet takes what begins so for a formula, and alerts say what they like.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def html(report: Mapping[str, Any]) -> str:
    """One page with its plots inside; every value is escaped."""
    templates = html_environment(_TEMPLATES, {"value": _value, "share": _percent})
    times = report["figures"]["time_to_action"]["more"]["times_s"]
    days = _days(report) if report["incidents"]["total"] else {}
    return templates.get_template("report.html.j2").render(
        report=report,
        days=bar_plot(days, "Incidents by day") if days else None,
        times=bar_plot(_spread(times), "Runs by time from fault to action") if times else None,
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


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"unknown: {figure['reason']}"
    if figure["unit"] == "share":
        return _percent(figure["value"])
    return f"{figure['value']:.4g} {figure['unit']}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"
