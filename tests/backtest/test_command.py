"""`smartcloudops backtest`, and `test --incidents` on what it kept."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from receiver.cli.main import main
from tests.backtest.past_server import PLAYBOOK, PastServer, labels_of


@contextmanager
def _serving(server: PastServer) -> Iterator[str]:
    client = server.client()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._tell(client.post(f"http://past{self.path}", content=body))

        def do_GET(self) -> None:
            self._tell(client.get(f"http://past{self.path}"))

        def _tell(self, answer: httpx.Response) -> None:
            self.send_response_only(answer.status_code)
            self.send_header("Date", formatdate(time.time(), usegmt=True))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()


def _call(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = 0
    try:
        main([*arguments])
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, capsys.readouterr().out


def test_kept_incidents_are_a_test_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backtest that was cut off asks nothing twice; a change fails until it is approved."""
    playbooks, kept = tmp_path / "playbooks", tmp_path / "incidents"
    playbooks.mkdir()
    file = playbooks / "high-cpu.yaml"
    file.write_text(PLAYBOOK)
    labels = labels_of(1, alertname="HighCPU", severity="warning")
    since = time.time() // 60 * 60 - 3_600
    server = PastServer(alerts=[(labels, since, since + 60)])
    monkeypatch.setenv("SMARTCLOUDOPS_PLAYBOOKS", str(playbooks))
    options = ["--since", "2h", "--no-aws", "--save", str(kept), "--max-queries-per-second", "1000"]
    with _serving(server) as url:
        monkeypatch.setenv("SMARTCLOUDOPS_PROMETHEUS_URL", url)
        status, out = _call(["backtest", *options, "--json", "--out", f"{tmp_path}/b.html"], capsys)
        first = json.loads(out)
        assert (status, first["alerts"], first["prometheus"]["queries"] > 0) == (0, 1, True)
        assert [one["action"] for one in first["decisions"]] == ["reboot_instance"]
        assert "reboot_instance" in (tmp_path / "b.html").read_text()
        # As after a cut in the middle.
        (kept / "period.json").write_text(
            json.dumps(json.loads((kept / "incidents.json").read_text())["period"])
        )
        status, out = _call(["backtest", *options, "--json"], capsys)
        again = json.loads(out)
        assert (status, again["decisions"]) == (0, first["decisions"])
        assert again["prometheus"]["queries"] == 0

    # Prometheus is gone from here on.
    test = ["test", "--incidents", str(kept)]
    assert _call(test, capsys)[0] == 0
    file.write_text(PLAYBOOK.replace('facts["cpu"] > 0.8', 'facts["cpu"] > 0.99'))
    status, out = _call(test, capsys)
    (line,) = out.splitlines()
    assert status == 1
    assert line.endswith("HighCPU i-00000000000000001: act reboot_instance -> act replace_instance")
    approved = tmp_path / "approved.txt"
    approved.write_text(line + "\n")
    status, out = _call([*test, "--approved", str(approved)], capsys)
    assert (status, "(approved)" in out) == (0, True)
