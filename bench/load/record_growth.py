"""The cost of a decision while runs and playbooks grow in number; the cost should stay constant."""

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from bench.load.delivery_client import NUMBERS, LoadSpec, run_load
from bench.load.service import Served, serve
from demo.stack.processes import Processes
from receiver.http.access.callers import Role

_STORED = (1_000, 100_000, 1_000_000)
_PLAYBOOKS = (10, 1_000)
_ALERTS = 500
_PATIENCE_S = 120.0
_PLAYBOOK = """
name: playbook-{number}
match: ['alertname="Alert{number}"']
steps: [{{action: reboot_instance}}]
verify: {{expr: up, for: 0s, timeout: 60s}}
"""


def measure_growth(folder: Path) -> Mapping[str, float]:
    """CPU milliseconds of a decision by stored runs and by playbooks, and seconds for a page."""
    figures: dict[str, float] = {}
    with Processes(folder / "logs") as processes:
        for stored in _STORED:
            own = _with_playbooks(folder / f"runs-{stored}", 10)
            service = serve(processes, own, f"runs-{stored}", PLAYBOOKS=str(own / "playbooks"))
            _decide(service, 50)
            service.child.stop()
            _multiply(own / "state.db", stored)
            service = serve(processes, own, f"runs-{stored}", PLAYBOOKS=str(own / "playbooks"))
            figures[f"decision_cpu_ms_runs_{stored}"] = _decide(service, _ALERTS)
            started = time.perf_counter()
            service.get("/api/v1/runs?limit=100")
            figures[f"page_s_runs_{stored}"] = time.perf_counter() - started
            service.child.stop()
        for count in _PLAYBOOKS:
            own = _with_playbooks(folder / f"playbooks-{count}", count)
            service = serve(processes, own, f"books-{count}", PLAYBOOKS=str(own / "playbooks"))
            figures[f"decision_cpu_ms_playbooks_{count}"] = _decide(service, _ALERTS)
            service.child.stop()
    return figures


def _with_playbooks(folder: Path, count: int) -> Path:
    (folder / "playbooks").mkdir(parents=True)
    for number in range(count):
        path = folder / "playbooks" / f"playbook-{number}.yaml"
        path.write_text(_PLAYBOOK.format(number=number))
    return folder


def _decide(service: Served, alerts: int) -> float:
    """CPU milliseconds of each decision."""
    before = service.cpu_s()
    body = next(NUMBERS.bodies(alerts))
    run_load(service.url, service.tokens[Role.WEBHOOK], LoadSpec(connections=1, bodies=[body]))
    until = time.monotonic() + _PATIENCE_S
    # Not polled through metrics, which cost more than a decision: they have a line for each
    # playbook and state.
    while any(_remaining(service, state) for state in ("received", "deciding")):
        if time.monotonic() > until:
            raise RuntimeError(f"not decided within {_PATIENCE_S:.0f} s")
        time.sleep(0.1)
    return 1e3 * (service.cpu_s() - before) / alerts


def _remaining(service: Served, state: str) -> int:
    return len(service.get(f"/api/v1/runs?state={state}&limit=1").json()["items"])


def _multiply(path: Path, wanted: int) -> None:
    """Fill the table with copies of one run, each with its own id."""
    with sqlite3.connect(path) as database:
        (have,) = database.execute("select count(*) from runs").fetchone()
        database.execute("create temp table copies as select * from runs limit 1")
        copies = 1
        while copies < wanted - have:
            database.execute("insert into copies select * from copies")
            copies *= 2
        database.execute("update copies set id = printf('0%025d', rowid)")
        database.execute("insert into runs select * from copies limit ?", [wanted - have])
