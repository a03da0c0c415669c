"""What is drawn of a run's evidence: what is kept for it, and what the plot says."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models.inference.robust_detector import judge
from receiver.api.schemas import WholeRun
from receiver.db.tables import runs
from receiver.evidence.plot_data import sketches
from receiver.http.tokens import Role
from tests.api_fixtures import HOSTS, Live, live
from tests.console.console_fixtures import Visitor
from tests.models.robust_fixtures import CPU, RUNAWAY, evidence


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("plots")) as made:
        yield made


def _kept() -> list[dict[str, Any]]:
    given = evidence(now=RUNAWAY)
    return sketches(given, judge(given, CPU), CPU)


def test_what_is_kept_is_small_and_has_what_is_drawn() -> None:
    """The metric that the alert is about first, its past at this hour, and its siblings."""
    found = _kept()
    assert len(found) <= 3
    first = found[0]
    assert first["role"] == "cpu_busy"
    assert len(first["own"]) <= 91
    assert first["own"][-1][0] == 0
    assert first["own"][-1][1] > 0.9
    assert len(first["siblings"]) == 5
    assert all(low <= middle <= high < 0.9 for _, low, middle, high in first["usual"])
    assert len(json.dumps(found)) < 40_000


def test_nothing_known_is_nothing_kept() -> None:
    """No answer of Prometheus is no plot, and no error."""
    given = evidence(now=RUNAWAY)
    silent = type(given)(target=given.target, at=given.at)
    assert sketches(silent, None, CPU) == []


def test_a_run_is_drawn_on_its_page(service: Live) -> None:
    """Prometheus gives no more answer of that time, and the page comes all the same."""
    run = service.until(service.start("acting", HOSTS[0])["id"], "succeeded")
    at = service.system.clock()
    kept = {"at": at, "recent": {}, "peers": [], "problems": [], "sketches": _kept()}
    with service.system.database.write() as connection:
        mine = update(runs).where(runs.c.id == run["id"])
        connection.execute(mine.values(evidence=json.dumps(kept)))
    whole = service.call("GET", f"/api/v1/runs/{run['id']}", Role.VIEWER).json()
    WholeRun.model_validate(whole)
    visitor = Visitor(service=service)
    with visitor.http:
        visitor.log_in(Role.VIEWER)
        for path in (f"/runs/{run['id']}", f"/runs/{run['id']}/plots"):
            page = visitor.see(path)
            assert page.status_code == HTTPStatus.OK
            assert "<h2>CPU busy</h2>" in page.text
            assert ">recovered</text>" in page.text


def test_a_run_without_evidence_has_a_page(tmp_path: Path) -> None:
    """Where a guard needed none."""
    with live(tmp_path) as service:
        run = service.start("acting", HOSTS[0], dry_run=True)
        visitor = Visitor(service=service)
        with visitor.http:
            visitor.log_in(Role.VIEWER)
            assert visitor.see(f"/runs/{run['id']}/plots").status_code == HTTPStatus.OK
            assert "<svg" not in visitor.page.text
