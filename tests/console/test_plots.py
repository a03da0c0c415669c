"""The plot data that a run stores, and the plots on its page."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import httpx
import pytest

from receiver.api.run_schema import WholeRun
from receiver.console.runs.condition_plots import condition_plots
from receiver.console.runs.metrics_after import metrics_after
from receiver.evidence.plot_data import plot_series
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.range_queries import plotted
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.target import SeriesLabels, Target
from receiver.html.metric_plot import run_events
from receiver.http.access.callers import Role
from tests import fake_prometheus
from tests.api_fixtures import HOSTS, Live, live
from tests.console.console_fixtures import Visitor, plot_data, store_plot_data
from tests.models.fleet_fixtures import CPU, RUNAWAY, evidence


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("plots")) as service:
        yield service


def test_plot_data_is_small_and_complete() -> None:
    """The alert's metric comes first, with its past at this hour and its siblings."""
    metrics = plot_data()
    assert len(metrics) <= 3
    first = metrics[0]
    assert first["role"] == "cpu_busy"
    assert len(first["own"]) <= 91
    assert first["own"][-1][0] == 0
    assert first["own"][-1][1] > 0.9
    assert len(first["siblings"]) == 5
    assert all(low <= middle <= high < 0.9 for _, low, middle, high in first["usual"])
    assert len(json.dumps(metrics)) < 40_000


def test_without_metrics_there_is_no_plot_data() -> None:
    """Without an answer of Prometheus there is no plot, and no error."""
    seen = evidence(now=RUNAWAY)
    empty = type(seen)(target=seen.target, at=seen.at)
    assert plot_series(empty, None, CPU) == []


def test_the_run_page_has_plots(service: Live) -> None:
    """Also where Prometheus has no metrics after the decision."""
    run = service.until(service.start("acting", HOSTS[0])["id"], "succeeded")
    store_plot_data(service, run["id"])
    whole = service.call("GET", f"/api/v1/runs/{run['id']}", Role.VIEWER).json()
    WholeRun.model_validate(whole)
    visitor = Visitor(service=service)
    with visitor.http:
        visitor.log_in(Role.VIEWER)
        for path in (f"/runs/{run['id']}", f"/runs/{run['id']}/plots"):
            page = visitor.get(path)
            assert page.status_code == HTTPStatus.OK
            assert "<h2>CPU busy</h2>" in page.text
            assert ">recovered</text>" in page.text


def test_a_plot_has_the_series_that_the_run_was_decided_on() -> None:
    """Where they have no label `instance_id`, and are no node_exporter's."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(unquote_plus(request.content.decode()))
        data = {"resultType": "matrix", "result": []}
        return httpx.Response(200, json={"status": "success", "data": data})

    prometheus = Prometheus("http://prometheus", client=fake_prometheus.client(answer))
    exporter = Exporter(name="theirs", presence="up{$of}", exprs={"cpu_busy": "their_cpu{$of}"})
    series = SeriesLabels(label="node", own='node="web-4"', siblings="", members="", ids={})
    target = Target(id=HOSTS[0], series=series, exporter=exporter)
    told = {"at": 1_800_000_000.0, "query": plotted(target, ["cpu_busy", "load1"])}
    run = {"evidence": told, "target": HOSTS[0], "alert": {"labels": {}}}
    assert metrics_after(prometheus, run, 1_800_000_060.0) == {}
    (query,) = asked
    assert 'max by (node) (their_cpu{node="web-4"})' in query
    assert "instance_id" not in query
    assert "node_" not in query


def test_a_plot_names_what_was_done_to_the_host_alone() -> None:
    """What its group lent and got back would hide these names."""
    at = "2026-11-29T12:37:44.000Z"

    def step(action: str, target: str) -> dict[str, Any]:
        return {"action": action, "target": target, "undoes": None, "dispatched_at": at}

    run = {
        "evidence": {"at": 1_795_000_000.0},
        "alert": {"starts_at": at},
        "target": HOSTS[0],
        "plan": {"target": HOSTS[0]},
        "steps": [step("reboot_instance", HOSTS[0]), step("suspend_processes", "web-asg")],
        "state": "succeeded",
        "ended_at": at,
    }
    assert [event.text for event in run_events(run)] == ["alert", "reboot", "recovered"]


def test_a_run_without_evidence_has_a_page(tmp_path: Path) -> None:
    """A guard refused the run before metrics were needed."""
    with live(tmp_path) as service:
        run = service.start("acting", HOSTS[0], dry_run=True)
        visitor = Visitor(service=service)
        with visitor.http:
            visitor.log_in(Role.VIEWER)
            assert visitor.get(f"/runs/{run['id']}/plots").status_code == HTTPStatus.OK
            assert "<svg" not in visitor.page.text


def test_a_condition_of_a_playbook_is_plotted_with_its_limit() -> None:
    """What it measures, from half an hour before; one that is no comparison is plotted itself."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(unquote_plus(request.content.decode()))
        values = [[1_800_000_000.0 + 15 * step, "0.9"] for step in range(-120, 5)]
        data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
        return httpx.Response(200, json={"status": "success", "data": data})

    prometheus = Prometheus("http://prometheus", client=fake_prometheus.client(answer))
    conditions = ['max(disk{instance_id="i-1"}) > bool 0.7', "up"]
    run = {
        "evidence": {"at": 1_800_000_000.0, "conditions": conditions},
        "alert": {"labels": {}, "starts_at": "2027-01-15T07:59:00Z"},
        "target": "i-1",
        "plan": None,
        "steps": [],
        "state": "refused",
    }
    disk, up = condition_plots(prometheus, run, 1_800_000_060.0)
    assert 'query=max(disk{instance_id="i-1"})&' in asked[0]
    assert disk.title == conditions[0]
    assert disk.text.startswith("0.9 at the decision; alert 60 s before the decision")
    assert 'class="ideal"' in disk.svg
    assert 'class="ideal"' not in up.svg


def test_a_run_of_a_playbook_with_conditions_keeps_them(service: Live) -> None:
    """So that its page can plot what made it decide."""
    run = service.start("acting", HOSTS[2], dry_run=True)
    assert run["evidence"]["conditions"] == ["up"]
