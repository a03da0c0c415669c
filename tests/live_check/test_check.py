"""`check --live` says what the real Prometheus, Alertmanager and AWS lack, each thing by name."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from actions.place import HOME
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError, Group
from models.features.signals import ROLES, Unit
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.evidence.targets import mapping
from receiver.evidence.targets.resolver import TargetResolver
from receiver.evidence.targets.rules import TargetRules
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.live_check.check import LiveCheck, LiveReport
from receiver.live_check.routes import read_receivers
from receiver.monitoring.alertmanager import Alertmanager
from receiver.playbooks.loader import load
from receiver.settings import Settings
from tests import fake_prometheus
from tests.conftest import Clock

_HOST = "i-00000000000000001"
_PLAYBOOK = """
name: down
match: ['alertname="Down"']
recheck: ['max(up{job="node",$selector}) == bool 0']
steps: [{action: reboot_instance}]
verify: {expr: 'min(up{job="node",$selector}) == bool 1'}
"""
_CONFIG = """
route:
  receiver: people
  routes:
    - receiver: smartcloudops
      matchers: ['remediation!=""']
      group_interval: 30s
      repeat_interval: 5m
receivers:
  - name: smartcloudops
    webhook_configs:
      - url: http://smartcloudops:8080/webhook/alertmanager
        http_config: {authorization: {credentials_file: /token}}
  - name: people
    webhook_configs: [{url: http://people.example/webhook}]
"""
_RATIOS = [name for name, role in ROLES.items() if role.unit is not Unit.BYTES]
_COUNT = re.compile(r'label_replace\(count\((.*?)\), "n", "(\d+)", "", ""\)')


def _rule(name: str, expr: str, health: str = "ok") -> dict[str, Any]:
    return {"name": name, "query": expr, "labels": {"severity": "critical"}, "health": health}


@dataclass
class Shop:
    """What a shop's servers answer; `series` are the selectors that select something."""

    clock: Clock
    folder: Path
    rules: list[dict[str, Any]] = field(default_factory=lambda: [_rule("Down", "up == 0")])
    series: set[str] = field(default_factory=lambda: {"up", 'up{job="node"}'})
    firing: list[dict[str, str]] = field(default_factory=list)
    active: list[dict[str, Any]] = field(default_factory=list)
    roles: dict[str, float] = field(default_factory=dict)
    playbook: str = _PLAYBOOK
    exporters: Sequence[Exporter] = (NODE_EXPORTER,)
    age_s: float | None = 5.0
    undelivered: float = 0.0
    config: str = _CONFIG
    role: Role = Role.WEBHOOK
    denied: str = ""
    alertmanager_status: int = 200

    def check(self) -> LiveReport:
        (self.folder / "playbooks").mkdir()
        (self.folder / "playbooks" / "down.yaml").write_text(self.playbook)
        tokens.create(self.folder / "tokens.json", self.role, "alertmanager")
        aws = Emulator(Core(self.clock))
        aws.world.add_group(Group("web", 1, 8, 2), ["i-00000000000000000", _HOST], 0.0)
        aws.trouble = self._trouble
        reads = AwsReaders(aws_at=lambda _: clients(aws), pool=ThreadPoolExecutor(1), trail=True)
        with fake_prometheus.client(self._prometheus, self.clock) as client:
            return LiveCheck(
                settings=Settings(
                    playbooks=self.folder / "playbooks",
                    tokens_file=self.folder / "tokens.json",
                ),
                playbooks=load(self.folder / "playbooks"),
                prometheus=Prometheus("http://prometheus", client=client, clock=self.clock),
                alertmanager=Alertmanager(
                    "http://alertmanager",
                    httpx.Client(transport=httpx.MockTransport(self._alertmanager)),
                ),
                aws=reads.at(HOME).aws,
                exporters=self.exporters,
                targets=TargetResolver(aws=reads, rules=TargetRules(mapping.load(None))),
                now=self.clock.now,
            ).run()

    def _trouble(self, operation: str, _: str) -> None:
        if operation == self.denied:
            raise AwsError("UnauthorizedOperation", "You are not authorized.", 403)

    def _prometheus(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/rules"):
            return httpx.Response(
                200, json={"status": "success", "data": {"groups": [{"rules": self.rules}]}}
            )
        query = parse_qs(request.content.decode())["query"][0]
        return httpx.Response(
            200,
            json={
                "status": "success",
                "data": {"resultType": "vector", "result": list(self._samples(query))},
            },
        )

    def _samples(self, query: str) -> Iterator[dict[str, Any]]:
        def sample(value: float, **labels: str) -> dict[str, Any]:
            return {"metric": labels, "value": [self.clock.now, str(value)]}

        if query.startswith("ALERTS"):
            named = {"__name__": "ALERTS", "alertstate": "firing"}
            yield from (sample(1, **named, **labels) for labels in self.firing)
        elif "by (role)" in query:
            roles = self.roles if "node_load1" in query else {}
            yield from (sample(value, role=role, of="max") for role, value in roles.items())
        elif "timestamp(up)" in query:
            if self.age_s is not None:
                yield sample(self.age_s)
        elif "notifications_failed" in query:
            if self.undelivered:
                yield sample(self.undelivered)
        else:
            counted = _COUNT.findall(query)
            yield from (sample(3, n=number) for part, number in counted if part in self.series)

    def _alertmanager(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/status"):
            body: Any = {"config": {"original": self.config}}
        else:
            body = self.active
        return httpx.Response(self.alertmanager_status, json=body)


@pytest.fixture
def shop(clock: Clock, tmp_path: Path) -> Shop:
    return Shop(clock, tmp_path)


def test_where_all_is_in_order_nothing_is_found(shop: Shop) -> None:
    """And what fires is told with its playbook and target."""
    shop.firing = [{"alertname": "Down", "instance": "10.0.0.2:9100"}]
    shop.active = [
        {
            "labels": {"alertname": "Down", "instance": "10.0.0.2:9100"},
            "receivers": [{"name": "smartcloudops"}],
        },
        {"labels": {"alertname": "Watchdog"}, "receivers": [{"name": "people"}]},
    ]
    report = shop.check()
    assert report.findings == []
    assert f"fires: Down  down  {_HOST}" in report.lines
    assert "fires: Watchdog  no playbook  no target: the labels name none" in report.lines
    assert "rule: Down  down" in report.lines
    assert "receiver: smartcloudops  repeats in 330 s" in report.lines
    assert "samples: the newest is 5 s old" in report.lines


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"rules": []}, "playbook down: no alert rule feeds it"),
        ({"rules": [_rule("Down", 'up{job="n"} == 0')]}, 'rule Down: selects nothing: up{job="n"}'),
        ({"rules": [_rule("Down", "up == 0", "err")]}, "rule Down: its last evaluation failed"),
        ({"series": {"up"}}, 'playbook down: recheck 1 selects nothing: up{job="node"}'),
        ({"series": {"up"}}, 'playbook down: verify selects nothing: up{job="node"}'),
        ({"age_s": 600.0}, "samples: the newest is 600 s old"),
        ({"age_s": None}, "Prometheus has no series up: it scrapes nothing"),
        ({"undelivered": 7.0}, "Alertmanager failed to deliver 7 webhooks in the last hour"),
        (
            {"firing": [{"alertname": "Down", "instance": "10.9.9.9:9100"}]},
            "alert Down: no target: AWS knows no live instance with the private-ip-address",
        ),
        (
            {
                "active": [
                    {"labels": {"alertname": "Down", "instance_id": _HOST}, "receivers": []},
                ]
            },
            "alert Down: no route of Alertmanager leads to smartcloudops",
        ),
        ({"config": "route: ["}, "Alertmanager's configuration: ParserError"),
        ({"alertmanager_status": 502}, "Alertmanager answered 502"),
        (
            {"config": _CONFIG.replace("webhook/alertmanager", "")},
            "Alertmanager has no receiver with a webhook of this service",
        ),
        (
            {"config": _CONFIG.replace("repeat_interval: 5m", "repeat_interval: 4h")},
            "receiver smartcloudops: repeat_interval and group_interval are 14430 s, SMARTCLOUD",
        ),
        (
            {"config": _CONFIG.replace("        http_config", "        #")},
            "receiver smartcloudops: it sends no token (http_config.authorization)",
        ),
        ({"denied": "DescribeInstances"}, "the role may not ec2:DescribeInstances"),
        ({"denied": "LookupEvents"}, "the role may not cloudtrail:LookupEvents"),
        ({"role": Role.VIEWER}, "no valid token of the role webhook"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_in_order_is_named(shop: Shop, change: dict[str, Any], finding: str) -> None:
    for name, value in change.items():
        setattr(shop, name, value)
    findings = shop.check().findings
    assert any(finding in line for line in findings), findings


@pytest.mark.parametrize(
    "expr",
    [
        "absent(nothing)",
        "up == 0 or nothing > 1",
        "up unless nothing",
        "vector(1)",
        "sum by (job) (rate(up[5m] offset 1h)) > 0.5 * 3",
        "max_over_time((up == 0)[1h:1m])",
    ],
)
def test_a_rule_that_can_fire_selects_something(shop: Shop, expr: str) -> None:
    shop.rules = [_rule("Down", expr)]
    assert not [line for line in shop.check().findings if line.startswith("rule")]


@pytest.mark.parametrize(
    "expr", ["nothing > 1", "up and nothing", "up / on (job) nothing", "rate(nothing[5m])"]
)
def test_a_rule_that_cannot_fire_names_what_is_missing(shop: Shop, expr: str) -> None:
    shop.rules = [_rule("Down", expr)]
    assert "rule Down: selects nothing: nothing" in shop.check().findings


def test_where_alertmanager_hides_its_urls_each_webhook_may_be_ours() -> None:
    hidden = _CONFIG.replace("http://smartcloudops:8080/webhook/alertmanager", "<secret>")
    hidden = hidden.replace("http://people.example/webhook", "<secret>")
    assert [receiver.name for receiver in read_receivers(hidden)] == ["smartcloudops", "people"]
    assert [receiver.name for receiver in read_receivers(_CONFIG)] == ["smartcloudops"]


def test_what_the_model_reads_is_there_and_in_its_unit(shop: Shop) -> None:
    """Of each exporter; only asked where a playbook leaves the verdict to the model."""
    shop.playbook = re.sub(r"recheck: .*\n", "", _PLAYBOOK)
    shop.roles = dict.fromkeys(NODE_EXPORTER.exprs, 2.0**21) | dict.fromkeys(_RATIOS, 0.5)
    shop.exporters = (
        NODE_EXPORTER,
        Exporter(name="own", presence="x{$of}", exprs={"load1": "x{$of}"}),
    )
    shop.roles["cpu_busy"] = 47.0
    del shop.roles["swap_in"]
    found = [finding for finding in shop.check().findings if finding.startswith("the model")]
    assert "the model: no host has swap_in" in found
    assert "the model: cpu_busy of node_exporter is 47, no ratio" in found
    assert "the model: no host has own" in found
    assert len(found) == 3
