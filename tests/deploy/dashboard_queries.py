"""The dashboards' queries, as Grafana sends them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = sorted((Path(__file__).parents[2] / "dashboards").glob("*.json"))
# What stands in for Grafana's own variables, and for ours.
_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$playbook": ".+"}


@dataclass(frozen=True)
class PanelQuery:
    """A query of a panel; `instant` is evaluated at one time."""

    panel: str
    expr: str
    instant: bool


def panels(path: Path) -> Sequence[dict[str, Any]]:
    """Panels with data, without the rows' headings."""
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def panel_queries() -> Sequence[PanelQuery]:
    return [
        PanelQuery(
            f"{path.stem}: {panel['title']}", fill_variables(target["expr"]), target["instant"]
        )
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]


def listed_metrics() -> Sequence[str]:
    """Metrics whose labels the dashboards' variables list."""
    variables = [
        variable
        for path in DASHBOARDS
        for variable in json.loads(path.read_text())["templating"]["list"]
        if variable["type"] == "query"
    ]
    return [
        re.findall(r"label_values\((\w+), ", str(variable["query"]))[0] for variable in variables
    ]


def fill_variables(expr: str) -> str:
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable without a value: {expr}"
    return expr
