"""One line an event, with the run in it and without secrets, in both forms."""

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

import pytest
import structlog

from demo.stack.processes import Processes
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.runtime import log_setup
from receiver.runtime.pools import Pool
from tests.end_to_end.service_process import Service, settings

_SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The log is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_gets_into_a_line(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "console"]
) -> None:
    """Configured or of a common form; in an event, a value at any depth, or a traceback."""
    log_setup.configure(form, "info", [_SECRET])
    log = structlog.get_logger()
    log.info(_SECRET, key=_SECRET, deep={"a": [f"password={_SECRET}", {_SECRET: 1}]})
    log.info("by form", url="https://user:p4ssw0rd@host/", header="Authorization: Bearer abcdef")
    logging.getLogger("library").warning("token=%s", "abcdefgh")
    try:
        Path(f"/nowhere/{_SECRET}").read_text()
    except OSError:
        log.exception("read_failed", path=Path(f"/{_SECRET}"))
    output = capsys.readouterr().err
    for secret in (_SECRET, "p4ssw0rd", "abcdef"):
        assert secret not in output
    assert output.count("[redacted]") >= 7
    assert "FileNotFoundError" in output


def test_a_line_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A forged line would record an action that never happened."""
    log_setup.configure("json", "info")
    structlog.get_logger().info("taken", text='x\n{"event": "forged"}\r\n', odd=object(), raw=b"\n")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "taken"


def test_work_in_a_pool_logs_its_run() -> None:
    """A pool's thread has the submitter's context, for this work only."""

    def bound() -> object:
        return structlog.contextvars.get_contextvars().get("run")

    with Pool(1) as pool:
        with structlog.contextvars.bound_contextvars(run="01R"):
            within: Future[object] = pool.submit(bound)
        without: Future[object] = pool.submit(bound)
    assert (within.result(), without.result()) == ("01R", None)


def test_the_service_names_run_and_request_in_its_log(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Events of an alert have its run, events of a call its request."""
    folder = tmp_path_factory.mktemp("log")
    with Processes(folder / "logs") as processes:
        service = Service.make(folder, processes)
        alert = {
            "status": "firing",
            "labels": {
                "alertname": "HighCPU",
                "severity": "warning",
                "instance_id": "i-0123456789abcdef0",
                "asg": "web-asg",
            },
        }
        answer = service.deliver(alert)
        (run,) = service.call("GET", "/api/v1/runs", Role.VIEWER).json()["items"]
        while not service.call("GET", f"/api/v1/runs/{run['id']}", Role.VIEWER).json()["ended_at"]:
            pass
        # Its end is logged once it is stored.
        while "run_ended" not in service.log():
            pass
        lines = [json.loads(line) for line in service.log().splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["deliveries_stored"]["request_ids"] == [answer.headers["x-request-id"]]
    assert events["run_ended"]["run"] == run["id"]
    # This read of AWS ran in a thread of a pool.
    assert events["aws_read_failed"]["run"] == run["id"]


def test_a_token_in_a_wrong_place_is_never_shown(tmp_path: Path) -> None:
    """A token in the webhook's URL, or an unknown one: not in answers, the log or metrics."""
    with Processes(tmp_path / "logs") as processes:
        service = Service.make(tmp_path, processes, SMARTCLOUDOPS_LOG_LEVEL="debug")
        secret, wrong = service.tokens[Role.WEBHOOK], "wr0ng-Token-of-nobody"
        basic = base64.b64encode(f"alertmanager:{wrong}".encode()).decode()
        path = "/webhook/alertmanager"
        answers = [
            service.call("POST", f"{path}?token={secret}", json={}),
            service.call("POST", f"{path}/{secret}", json={}),
            service.call("GET", f"/{secret}"),
            *(
                service.call("POST", at, headers={"Authorization": header}, json={})
                for at in (path, "/api/v1/runs", "/api/v1/pause")
                for header in (
                    f"Bearer {wrong}",
                    f"Basic {basic}",
                    wrong,
                    f"Bearer {secret} {wrong}",
                )
            ),
        ]
        metrics = service.call("GET", "/metrics", Role.VIEWER)
        assert metrics.is_success
        shown = [answer.text + str(answer.headers) for answer in answers]
        shown += [service.log(), metrics.text]
    assert all(answer.is_client_error for answer in answers)
    assert not [text for text in shown for token in (secret, wrong, basic) if token in text]


@pytest.mark.parametrize("command", ["serve", "audit verify", "report"])
def test_the_password_of_an_unreachable_database_is_not_shown(tmp_path: Path, command: str) -> None:
    """One line with the reason."""
    url = f"postgresql+psycopg://ops:{_SECRET}@127.0.0.1:1/state"
    env = settings(tmp_path, SMARTCLOUDOPS_DATABASE_URL=url, SMARTCLOUDOPS_LOG_LEVEL="debug")
    tokens.create(tmp_path / "tokens.json", Role.ADMIN, "alice")
    ran = subprocess.run(
        [sys.executable, "-m", "receiver", *command.split()],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert ran.stderr.endswith(": PostgreSQL accepts no connection\n")
    assert ran.stderr.count("\n") == 1
    assert _SECRET not in ran.stdout + ran.stderr
