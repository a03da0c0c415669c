"""`check --role`: a role that may do too much is told so, by IAM's own simulation."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs

import pytest

from tests.end_to_end.service_process import ROOT

_SESSION = "arn:aws-us-gov:sts::123456789012:assumed-role/receiver/i-1"
_MAY = {"ec2:TerminateInstances", "iam:PassRole", "ec2:RebootInstances"}


class _Identity(BaseHTTPRequestHandler):
    """STS and IAM as they answer, IAM a few at a time; `refused` is whether nobody may ask."""

    refused: ClassVar[bool] = False
    principals: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        form = {
            key: values[0] for key, values in parse_qs(self.rfile.read(length).decode()).items()
        }
        action = form["Action"]
        if action == "GetCallerIdentity":
            self._reply(200, action, f"<Arn>{_SESSION}</Arn>")
            return
        if self.refused:
            body = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
            self._answer(403, body)
            return
        if action == "GetRole":
            # As of a role of IAM Identity Center.
            arn = f"arn:aws-us-gov:iam::123456789012:role/aws-reserved/{form['RoleName']}"
            self._reply(200, action, f"<Role><Arn>{arn}</Arn></Role>")
            return
        self.principals.append(form["PolicySourceArn"])
        names = [value for key, value in form.items() if key.startswith("ActionNames")]
        first = int(form.get("Marker", "0"))
        names, more = names[first : first + 9], len(names) > first + 9
        inner = "".join(
            f"<member><EvalActionName>{name}</EvalActionName><EvalDecision>"
            f"{'allowed' if name in _MAY else 'implicitDeny'}</EvalDecision></member>"
            for name in names
        )
        marker = f"<IsTruncated>true</IsTruncated><Marker>{first + 9}</Marker>" if more else ""
        self._reply(200, action, f"<EvaluationResults>{inner}</EvaluationResults>{marker}")

    def _reply(self, status: int, action: str, inner: str) -> None:
        self._answer(
            status, f"<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"
        )

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Identity)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _check(url: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}
    return subprocess.run(
        [sys.executable, "-m", "receiver", "check", "--role", str(ROOT / "playbooks")],
        env=env | keys,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_the_role_may_do_beyond_need_is_named(url: str) -> None:
    """Not what a playbook needs; IAM is asked about the role, with its path, not its session."""
    finished = _check(url)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.splitlines() == [
        "warning: the role may ec2:TerminateInstances, which no playbook needs",
        "warning: the role may iam:PassRole, which no playbook needs",
    ]
    assert set(_Identity.principals) == {
        "arn:aws-us-gov:iam::123456789012:role/aws-reserved/receiver"
    }


def test_where_nobody_may_ask_a_line_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no finding: the policy does not hold that right itself."""
    monkeypatch.setattr(_Identity, "refused", True)
    finished = _check(url)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "the role was not checked: AccessDenied" in finished.stdout
