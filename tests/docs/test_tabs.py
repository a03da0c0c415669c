"""The install page's tabs for other shops: each line is run, each file read by what reads it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from ruamel.yaml import YAML

from demo.stack import tools
from receiver.evidence.targets import mapping
from receiver.webhook.senders import GRAFANA_PATH
from tests.docs.pages import section

_ROOT = Path(__file__).parents[2]
_TABS = dict(
    re.findall(
        r"<details><summary>(.*?)</summary>\n(.*?)</details>",
        section(_ROOT / "docs" / "install.md", "Trial"),
        re.DOTALL,
    )
)
# Says with which arguments it was called.
_RECORDS = f"""#!{sys.executable}
import json, pathlib, sys
with pathlib.Path("called.jsonl").open("a") as file:
    print(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]), file=file)
"""


def _follow(tab: str, folder: Path) -> list[list[str]]:
    """Write the tab's files, and run its commands. Returns the calls of other programs."""
    for text in re.findall(r"^```yaml\n(.*?)^```", _TABS[tab], re.DOTALL | re.MULTILINE):
        (folder / Path(text.split()[1].rstrip(",")).name).write_text(text)
    (folder / "bin").mkdir()
    for name in ("aws", "kubectl"):
        program = folder / "bin" / name
        program.write_text(_RECORDS)
        program.chmod(0o755)
    blocks = re.findall(r"^```console\n(.*?)^```", _TABS[tab], re.DOTALL | re.MULTILINE)
    commands = re.sub(r"^\$ ", "", "".join(blocks), flags=re.MULTILINE)
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607 whichever there is
        cwd=folder,
        env={**os.environ, "PATH": path, "WORKSPACE": "ws-1"},
        check=True,
        timeout=60,
    )
    called = folder / "called.jsonl"
    return [json.loads(line) for line in called.read_text().splitlines()] if called.exists() else []


def _read(file: Path) -> Any:
    return YAML(typ="safe").load(file)


def _check(tool: str, *arguments: str | Path) -> None:
    command = [str(tools.find(tool)), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_kubernetes_gets_the_rules_of_its_job(tmp_path: Path) -> None:
    assert _follow("Prometheus in Kubernetes", tmp_path) == [
        ["kubectl", "apply", "-f", "rules.yaml"]
    ]
    resource = _read(tmp_path / "rules.yaml")
    assert resource["kind"] == "PrometheusRule"
    YAML(typ="safe").dump(resource["spec"], tmp_path / "spec.yaml")
    _check("promtool", "check", "rules", tmp_path / "spec.yaml")
    exprs = [rule["expr"] for group in resource["spec"]["groups"] for rule in group["rules"]]
    assert any('job="node-exporter"' in expr for expr in exprs)
    assert not any('job="node"' in expr for expr in exprs)


def test_amazons_prometheus_takes_rules_and_routes(tmp_path: Path) -> None:
    """By botocore's model of the calls, and by Alertmanager's own reading of the definition."""
    calls = _follow("Amazon Managed Prometheus", tmp_path)
    loaded = Loader().load_service_model("amp", "service-2")
    model = ServiceModel(loaded)
    for program, service, command, *options in calls:
        assert (program, service) == ("aws", "amp")
        shape: Any = model.operation_model(command.title().replace("-", "")).input_shape
        pairs = zip(options[::2], options[1::2], strict=True)
        params = {re.sub(r"-(\w)", lambda m: m[1].upper(), name[2:]): text for name, text in pairs}
        assert not ParamValidator().validate(params, shape).has_errors()
        assert (tmp_path / params["data"].removeprefix("fileb://")).is_file()
    _check("promtool", "check", "rules", tmp_path / "rules.yaml")
    (tmp_path / "plain.yml").write_text(
        _read(tmp_path / "alertmanager.yaml")["alertmanager_config"]
    )
    _check("amtool", "check-config", tmp_path / "plain.yml")


def test_grafana_sends_to_an_address_of_the_service(tmp_path: Path) -> None:
    _follow("Grafana's alerts", tmp_path)
    (point,) = _read(tmp_path / "smartcloudops.yaml")["contactPoints"]
    (receiver,) = point["receivers"]
    assert receiver["settings"]["url"] == f"http://localhost:8080{GRAFANA_PATH}"


def test_a_shop_may_name_its_hosts_by_a_tag(tmp_path: Path) -> None:
    _follow("Hosts by their tag, rules of your own", tmp_path)
    (label,) = mapping.load(tmp_path / "targets.yaml").instances
    assert (label.label, label.readings) == ("instance", ["id", "tag:Name"])


@pytest.mark.parametrize("tab", _TABS)
def test_every_tab_has_its_test(tab: str) -> None:
    assert json.dumps(tab)[1:-1] in Path(__file__).read_text()
