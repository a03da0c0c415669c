"""Grafana's dashboards are those that the code generates, and query metrics that exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

from dashboards.__main__ import render_dashboards
from receiver.service import Metrics
from tests.deploy.dashboard_queries import DASHBOARDS, listed_metrics, panel_queries, panels

ROOT = Path(__file__).parents[2]
# Metrics of Prometheus itself and of Alertmanager.
_EXTERNAL = {"up", "ALERTS", "alertmanager_notifications_failed_total"}


def test_the_files_are_what_the_code_makes() -> None:
    """Change the code, then `make dashboards`."""
    assert {path: path.read_text() for path in DASHBOARDS} == dict(render_dashboards())


def _names(node: Any) -> Iterator[str]:
    """The metrics of an expression."""
    match node:
        case promql_parser.VectorSelector():
            yield node.name or ""
        case promql_parser.MatrixSelector():
            yield node.vector_selector.name or ""
        case promql_parser.Call():
            for argument in node.args:
                yield from _names(argument)
        case promql_parser.BinaryExpr():
            yield from _names(node.lhs)
            yield from _names(node.rhs)
        case promql_parser.NumberLiteral():
            return
        case _:
            yield from _names(node.expr)


def _exposed() -> set[str]:
    metrics = Metrics(["high-cpu"])
    # Known once a model is loaded.
    metrics.model.info.labels("1").set(1)
    return {sample.name for family in metrics.registry.collect() for sample in family.samples}


def _rules() -> Iterator[str]:
    for name in ("remediator", "model"):
        (group,) = YAML(typ="safe").load(ROOT / "prometheus_rules" / f"{name}.yml")["groups"]
        yield from (rule["expr"] for rule in group["rules"])


def test_every_metric_that_is_asked_for_is_exposed() -> None:
    """Panels and the rules on the service itself: with a renamed metric they would stay silent."""
    exposed = _exposed() | _EXTERNAL
    exprs = [*(query.expr for query in panel_queries()), *_rules()]
    queried = {name for expr in exprs for name in _names(promql_parser.parse(expr))}
    assert queried | set(listed_metrics()) <= exposed
    assert any(name.endswith("_bucket") for name in queried)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_can_be_told_apart_and_read(path: Path) -> None:
    """Each has an id, a title and a sentence of its own, and a data source that can be chosen."""
    shown = panels(path)
    assert len({panel["id"] for panel in shown}) == len(shown)
    for panel in shown:
        assert panel["description"].endswith(".")
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_grafana_is_given_what_the_panels_name() -> None:
    """The provisioned data source is the default one, and the folder is where they are mounted."""
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    yaml = YAML(typ="safe")
    (source,) = yaml.load(folder / "datasources" / "prometheus.yml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    scraped = yaml.load(ROOT / "deploy" / "prometheus.yml")["scrape_configs"]
    (ours,) = [job for job in scraped if job["job_name"] == "smartcloudops"]
    # Grafana's rate interval is four of these.
    assert source["jsonData"]["timeInterval"] == ours["scrape_interval"]
    (provider,) = yaml.load(folder / "dashboards" / "smartcloudops.yml")["providers"]
    assert re.fullmatch(r"/etc/grafana/\S+", provider["options"]["path"])
