"""Renders a report as one self-contained HTML file, and as CSV."""

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
# A spreadsheet runs a cell that starts with such a character as a formula, and alerts may contain
# any text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def html(report: Mapping[str, Any]) -> str:
    """One page with its plots inside; every value is escaped."""
    templates = html_environment(_TEMPLATES, {"value": _value, "share": _percent})
    times = report["figures"]["time_to_action"]["more"]["times_s"]
    days = _days(report) if report["incidents"]["total"] else {}
    return templates.get_template("report.html.j2").render(
        report=report,
        days=bar_plot(days, "Incidents by day") if days else None,
        times=bar_plot(_histogram(times), "Runs by time from fault to action") if times else None,
    )


def csv_text(report: Mapping[str, Any]) -> str:
    """A heading, and one line for each incident."""
    items: Sequence[Mapping[str, Any]] = report["incidents"]["items"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    names = list(items[0]) if items else ["run"]
    writer.writerow(names)
    writer.writerows([_cell(item[name]) for name in names] for item in items)
    return out.getvalue()


def _cell(value: object) -> str:
    values = value if isinstance(value, list) else [] if value is None else [value]
    text = "; ".join(map(str, values))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _days(report: Mapping[str, Any]) -> Mapping[str, int]:
    """Number of incidents by day, for every day of the period."""
    first, last = (date.fromisoformat(report["period"][end][:10]) for end in ("since", "until"))
    all_days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    counts = report["incidents"]["by_day"]
    return {str(day): counts.get(str(day), 0) for day in all_days}


def _histogram(times: Sequence[float]) -> Mapping[str, int]:
    """Number of times by range."""
    counts, low = {}, 0.0
    for edge in _EDGES:
        counts[f"{low:g}-{edge} s"] = sum(low < time <= edge or time == low == 0 for time in times)
        low = float(edge)
    return counts | {f"over {low:g} s": sum(time > low for time in times)}


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"unknown: {figure['reason']}"
    if figure["unit"] == "share":
        return _percent(figure["value"])
    return f"{figure['value']:.4g} {figure['unit']}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"
