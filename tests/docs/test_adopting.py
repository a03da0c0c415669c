"""The install page's trial is followed to the letter, on a real Prometheus and Alertmanager."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from demo.stack import tools
from demo.stack.monitoring_config import discover, write
from demo.stack.processes import Processes, free_port, wait_announced, without_aws
from tests.docs.pages import section

_ROOT = Path(__file__).parents[2]
_TABS = re.compile(r"<details>.*?</details>\n", re.DOTALL)
# The tabs are of other shops.
_PAGE = _TABS.sub("", section(_ROOT / "docs" / "install.md", "Trial"))
# What a reader waits for, or does again after a moment.
_AGAIN = re.compile(r"curl|read|RUN=")
_EXPORTER_STOPS = """curl -fsS -d '{"target": "'$INSTANCE'", "fault": "instance_down"}' $AWS_ENDPOINT_URL/_sim/fleet/faults"""  # noqa: E501
_AFTERWARDS = """curl -fsS -H @header $S/api/v1/runs > runs.json
smartcloudops coverage --json > coverage.json
smartcloudops check --live > live.txt 2> lacks.txt || true
kill %1"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout, as far as the page needs one, after all that the page says was done in it."""
    folder = tmp_path_factory.mktemp("adopting")
    (folder / "playbooks").symlink_to(_ROOT / "playbooks")
    (folder / "bin").mkdir()
    for name in ("promtool", "amtool"):
        (folder / "bin" / name).symlink_to(tools.find(name))
    with Processes(folder / "logs") as processes:
        _follow(folder, processes)
        yield folder


def _follow(folder: Path, processes: Processes) -> None:
    fleet = [sys.executable, "-m", "demo.aws.server", "--port", "0"]
    aws = wait_announced(processes.start("aws", fleet, env=without_aws()))["url"]
    port, etc = free_port(), folder / "etc"
    here = {"localhost:8080": f"127.0.0.1:{port}", "/etc/": f"{etc}/", "--scrape 5s": "--scrape 1s"}
    _alertmanager(processes, etc, here)
    _prometheus(processes, etc, here)
    _write(etc, aws, _replaced(_PAGE, here))
    script = folder / "page.sh"
    script.write_text(_script(_replaced(_PAGE, here)))
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {
        **without_aws(),
        "PATH": path,
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SMARTCLOUDOPS_PORT": str(port),
    }
    inside = ["env", "-C", str(folder), *(f"{k}={v}" for k, v in env.items()), "bash", str(script)]
    processes.run("page", inside, timeout_s=170)
    calls = httpx.get(f"{aws}/_sim/calls", trust_env=False).text
    (folder / "calls.jsonl").write_text(calls)


def _alertmanager(processes: Processes, etc: Path, here: dict[str, str]) -> None:
    """One that is there already, with people behind it."""
    file = etc / "alertmanager" / "alertmanager.yml"
    write(file, {"route": {"receiver": "people"}, "receivers": [{"name": "people"}]})

    def command(port: int) -> list[str | Path]:
        return [
            tools.find("alertmanager"),
            f"--config.file={file}",
            f"--storage.path={etc / 'alertmanager' / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]

    _, url = processes.start_on_port("alertmanager", command, ready="/-/ready")
    here["localhost:9093"] = url.removeprefix("http://")


def _prometheus(processes: Processes, etc: Path, here: dict[str, str]) -> None:
    """One that is there already, and sends its alerts to that Alertmanager."""
    file = etc / "prometheus" / "prometheus.yml"
    notified = {"static_configs": [{"targets": [here["localhost:9093"]]}]}
    write(file, {"alerting": {"alertmanagers": [notified]}})

    def command(port: int) -> list[str | Path]:
        return [
            tools.find("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={etc / 'prometheus' / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
        ]

    _, url = processes.start_on_port("prometheus", command, ready="/-/ready", env=without_aws())
    here["localhost:9090"] = url.removeprefix("http://")


def _write(etc: Path, aws: str, page: str) -> None:
    """What the page shows of both files, put into those that are there."""
    for name in ("prometheus", "alertmanager"):
        file = etc / name / f"{name}.yml"
        there: dict[str, Any] = YAML(typ="safe").load(file)
        (text,) = re.findall(rf"```yaml\n# {name}\.yml\n(.*?)```", page, re.DOTALL)
        shown: dict[str, Any] = YAML(typ="safe").load(text)
        if name == "prometheus":
            job = shown["scrape_configs"][0]
            job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
            job["ec2_sd_configs"][0]["region"] = "us-east-1"
            discover(job, aws, "1s")
        else:
            shown["route"] |= there["route"]
            shown["receivers"] += there["receivers"]
        write(file, there | shown)


def _replaced(text: str, here: dict[str, str]) -> str:
    for shown, real in here.items():
        text = text.replace(shown, real)
    return text


def _script(page: str) -> str:
    """The commands of the page's console blocks, in order; those that may need a moment, again."""
    # Whatever ends the script, the service that it starts ends, too.
    lines = ["set -veuo pipefail", "trap 'kill $(jobs -p) || true' EXIT"]
    for kind, block in re.findall(r"^```(console|sh)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        if kind == "console":
            commands = re.findall(r"^\$ (.*?)(?=^\$ |\Z)", block, re.DOTALL | re.MULTILINE)
            lines += [_patient(command.rstrip()) for command in commands]
        elif "systemctl stop node_exporter" in block:
            lines.append(_EXPORTER_STOPS)
    return "\n".join([*lines, _AFTERWARDS, ""])


def _patient(command: str) -> str:
    if not _AGAIN.match(command):
        return command
    return f"n=0; until {command}\ndo n=$((n + 1)); [ $n -lt 160 ] || exit 9; sleep 0.25; done"


def test_the_first_alert_is_refused_with_its_reason(folder: Path) -> None:
    """A fleet that was just given its labels has no past to be compared with."""
    runs = json.loads((folder / "runs.json").read_text())["items"]
    (first,) = [run for run in runs if run["playbook"] == "high-cpu"]
    assert (first["state"], first["refusal"]) == ("refused", "verdict_undecided")


def test_an_exporter_that_stops_is_observed_and_nothing_is_done(folder: Path) -> None:
    """The plan is told, and AWS got nothing but questions."""
    runs = json.loads((folder / "runs.json").read_text())["items"]
    (down,) = [run for run in runs if run["playbook"] == "instance-down"]
    assert down["state"] == "observed"
    assert down["plan"]["action"] == "reboot_instance"
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    operations = {call["operation"] for call in calls if call["session"]}
    assert all(
        operation.startswith(("Describe", "Lookup", "List", "Get")) for operation in operations
    )


def test_the_live_check_finds_what_the_page_set_up(folder: Path) -> None:
    """Each rule with its playbook, a receiver with a token, fresh samples, a role that may read."""
    lines = (folder / "live.txt").read_text().splitlines()
    lacks = (folder / "lacks.txt").read_text()
    assert "rule: InstanceDown  instance-down" in lines
    assert any(line.startswith("receiver: smartcloudops") for line in lines)
    for absent in ("rule InstanceDown", "rule HighCPU", "sends no token", "may not", "samples:"):
        assert absent not in lacks, lacks
    assert "rule UnitFailed: selects nothing: node_systemd_unit_state" in lacks


def test_coverage_says_that_only_the_mode_is_missing(folder: Path) -> None:
    """As the page says."""
    for service in json.loads((folder / "coverage.json").read_text())["services"]:
        assert service["missing"] == ["every matching playbook only observes"]
