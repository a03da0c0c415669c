"""The dashboards' queries, as Grafana would ask them."""

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
class Asked:
    """One query of a panel; `instant` is one at a point of time."""

    panel: str
    expr: str
    instant: bool


def panels(path: Path) -> Sequence[dict[str, Any]]:
    """Those that show something, without the rows' headings."""
    return [one for one in json.loads(path.read_text())["panels"] if one["type"] != "row"]


def asked() -> Sequence[Asked]:
    return [
        Asked(f"{path.stem}: {panel['title']}", filled(target["expr"]), target["instant"])
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]


def listed() -> Sequence[str]:
    """Metrics whose labels the dashboards' variables list."""
    variables = [
        one
        for path in DASHBOARDS
        for one in json.loads(path.read_text())["templating"]["list"]
        if one["type"] == "query"
    ]
    return [re.findall(r"label_values\((\w+), ", str(one["query"]))[0] for one in variables]


def filled(expr: str) -> str:
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable that nobody fills: {expr}"
    return expr
