"""Which critical services would be remediated, from Prometheus and an emulated AWS."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest

from actions.aws.groups import Group
from actions.aws.instances import Instance
from actions.aws.tags import CRITICAL_TAG, OPT_IN_TAG
from demo.stack.processes import Processes, wait_announced
from receiver.cli.main import main
from receiver.evidence.prometheus.answers import AlertingRule
from receiver.playbooks.loader import load
from receiver.reports.coverage import CoverageInput, Policy, service_coverage
from receiver.settings import Mode

_PLAYBOOKS = load(Path(__file__).parents[2] / "playbooks")
_TAGS = {OPT_IN_TAG: "true"}
_WEB = Group(name="web-asg", minimum=1, maximum=4, desired=2, members={}, tags=_TAGS)
_HOSTS = [
    Instance(
        id=f"i-{number:017x}",
        state="running",
        launched_at=0,
        group="web-asg",
        az="us-east-1a",
        tags=_TAGS,
    )
    for number in range(2)
]
_RULE = AlertingRule(
    name="ServiceDown",
    expr='min by (instance_id, asg) (service_up{instance_id!=""}) == 0',
    labels={"severity": "critical"},
    healthy=True,
)
_POLICY = Policy(playbooks=_PLAYBOOKS, mode=Mode.AUTO, armings={}, arming_required=False)
_FACTS = CoverageInput(rules=[_RULE], measured={"web-asg"}, policy=_POLICY)


def test_a_service_with_everything_is_covered() -> None:
    """A rule, a playbook for its alerts, a mode that acts, and the tag everywhere."""
    coverage = service_coverage(_WEB, _HOSTS, _FACTS)
    assert (coverage.missing, coverage.mode) == ([], Mode.AUTO)
    assert (coverage.rules, coverage.playbooks) == (["ServiceDown"], ["service-down"])


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (replace(_FACTS, measured={"other-asg"}), "no metrics"),
        (replace(_FACTS, rules=[]), "no alerting rule"),
        (
            replace(_FACTS, rules=[replace(_RULE, expr='service_up{asg="api-asg"} == 0')]),
            "no alerting rule",
        ),
        (
            replace(_FACTS, rules=[replace(_RULE, expr='service_up{asg !~ "web.*"} == 0')]),
            "no alerting rule",
        ),
        (replace(_FACTS, rules=[replace(_RULE, name="Unheard")]), "no playbook"),
        (replace(_FACTS, policy=replace(_POLICY, mode=Mode.OBSERVE)), "only observe"),
        (replace(_FACTS, policy=replace(_POLICY, arming_required=True)), "only observe"),
    ],
)
def test_what_a_service_lacks_is_named(facts: CoverageInput, text: str) -> None:
    """One thing at a time."""
    missing = service_coverage(_WEB, _HOSTS, facts).missing
    assert any(text in reason for reason in missing), missing


def test_a_rule_that_names_the_group_selects_it() -> None:
    """Exactly, or by a pattern."""
    for expr in ('up{asg="web-asg"} == 0', 'up{asg=~"web-.*|api"} == 0'):
        facts = replace(_FACTS, rules=[replace(_RULE, expr=expr)])
        assert service_coverage(_WEB, _HOSTS, facts).missing == []


def test_each_untagged_member_is_named() -> None:
    """The group itself as well."""
    hosts = [_HOSTS[0], replace(_HOSTS[1], tags={})]
    assert service_coverage(_WEB, hosts, _FACTS).untagged == [hosts[1].id]
    assert service_coverage(replace(_WEB, tags={}), hosts, _FACTS).untagged == [
        "web-asg",
        hosts[1].id,
    ]


class _Prometheus(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        rule = {"name": "ServiceDown", "query": _RULE.expr, "labels": {"severity": "critical"}}
        groups = [{"rules": [rule | {"health": "ok", "type": "alerting"}]}]
        self._answer({"groups": groups})

    selects = True

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"]))
        labels = {"asg": "web-asg"}
        if b"service_up" in form:
            labels = {"n": "0"} if self.selects else {}
        sample = {"metric": labels, "value": [1, "1"]}
        self._answer({"resultType": "vector", "result": [sample] if labels else []})

    def _answer(self, data: dict[str, Any]) -> None:
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An emulated fleet, and a Prometheus that measures one of its two groups."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "demo.aws.server", "--port", "0", "--speed", "20"]
    with Processes(tmp_path) as processes:
        env = {
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": wait_announced(processes.start("aws", command))["url"],
            "SMARTCLOUDOPS_PROMETHEUS_URL": f"http://127.0.0.1:{server.server_port}",
            "SMARTCLOUDOPS_MODE": "auto",
        }
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("around")
def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All groups, one by name, the tagged one, and the share in a report."""
    main(["coverage", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (result["critical"], result["covered"], result["covered_share"]) == (2, 1, 0.5)
    main(["coverage", "--critical", "web-asg"])
    assert "1 of 1 critical services: 100.0 %" in capsys.readouterr().out
    monkeypatch.setattr(_Prometheus, "selects", False)
    main(["coverage", "--critical", "web-asg"])
    assert "no alerting rule covers the group" in capsys.readouterr().out
    tag = {
        "ResourceId": "api-asg",
        "ResourceType": "auto-scaling-group",
        "Key": CRITICAL_TAG,
        "Value": "true",
        "PropagateAtLaunch": False,
    }
    boto3.client("autoscaling").create_or_update_tags(Tags=[tag])  # type: ignore[list-item] # it fits
    main(["coverage"])
    assert "no metrics" in capsys.readouterr().out
    monkeypatch.setenv("SMARTCLOUDOPS_DATABASE_URL", f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(SystemExit) as ended:
        main(["coverage", "--critical", "none-asg"])
    assert ended.value.code == 1
