"""The series of a target and of its peers are selected by the labels that they really have."""

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from actions.base import TargetKind
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import Group
from demo.stack import tools
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.expressions import at_place
from receiver.evidence.range_queries import latest_query, peers_query
from receiver.evidence.target import Target
from receiver.evidence.targets import mapping
from receiver.evidence.targets.resolver import TargetResolver
from receiver.evidence.targets.rules import TargetRules
from receiver.evidence.targets.series import SeriesFinder
from tests import fake_prometheus
from tests.conftest import Clock

_HOSTS = [f"i-{number:017x}" for number in range(3)]
_ID = _HOSTS[1]
ALERT = {"alertname": "A", "instance": "10.0.0.2:9104"}
_NAMES = {
    "address": [f"10.0.0.{number}:9100" for number in (1, 2, 3)],
    "dns": [f"ip-10-0-0-{number}.ec2.internal:9100" for number in (1, 2, 3)],
    "id": _HOSTS,
    "url": [f"http://10.0.0.{number}:9100/metrics" for number in (1, 2, 3)],
}


def evaluate(
    folder: Path, series: Mapping[str, str], expr: str, every: str = "15s", at: str = "5m"
) -> list[Mapping[str, str]]:
    """The labels of the answer, by Prometheus' own engine: promtool prints what it did not expect.

    The answer is what it got in place of a series that cannot be.
    """
    case = {
        "interval": every,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expr, "eval_time": at, "exp_samples": [{"labels": "impossible", "value": 1}]}
        ],
    }
    file = folder / "case.json"
    file.write_text(json.dumps({"tests": [case]}))
    command = [str(tools.find("promtool")), "test", "rules", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (result.stdout + result.stderr).partition("got:")[2]
    assert said, result.stdout + result.stderr
    answers: list[Mapping[str, str]] = []
    for part in said.split("{")[1:]:
        pairs = (pair.partition("=") for pair in part.partition("}")[0].split(", "))
        answers.append({name: text.strip('"') for name, _, text in pairs})
    return answers


def make_resolver(
    pool: ThreadPoolExecutor, folder: Path, series: Mapping[str, str]
) -> TargetResolver:
    """Of a group of three, with a Prometheus that has these series."""
    aws = Emulator(Core(Clock()))
    aws.world.add_group(Group("web", 1, 8, 3), _HOSTS, 0.0)
    reader = AwsReaders(aws_at=lambda _: clients(aws), pool=pool, trail=False)

    def answer(request: httpx.Request) -> httpx.Response:
        expr = parse_qs(request.content.decode())["query"][0]
        found = evaluate(folder, series, expr)
        result = [{"metric": labels, "value": [0, "1"]} for labels in found if labels.get("n")]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    prometheus = Prometheus("http://p", client=fake_prometheus.client(answer))
    rules = TargetRules(mapping.load(None))
    finder = SeriesFinder(aws=reader, prometheus=prometheus, rules=rules)
    return TargetResolver(aws=reader, rules=rules, series=finder)


@pytest.mark.parametrize("named", list(_NAMES))
def test_the_models_queries_select_by_what_the_series_have(tmp_path: Path, named: str) -> None:
    """No series has `instance_id` or `asg`; another region has a host of the same name."""
    cpu = 'node_cpu_seconds_total{mode="idle",cpu="0",instance="%s",region="%s"}'
    series = {cpu % (name, "us-east-1"): "0+6x40" for name in _NAMES[named]}
    series[cpu % (_NAMES[named][1], "eu-west-1")] = "0+1x40"
    with ThreadPoolExecutor(2) as pool:
        target = make_resolver(pool, tmp_path, series).resolve(ALERT, ask=True)
    assert (target.id, target.group) == (_ID, "web")
    assert target.series is not None
    own = evaluate(tmp_path, series, f"node_cpu_seconds_total{{{target.selector}}}")
    assert [(labels["instance"], labels["region"]) for labels in own] == [
        (_NAMES[named][1], "us-east-1")
    ]
    latest = latest_query(target, at=300.0)
    assert [labels["role"] for labels in evaluate(tmp_path, series, latest.expr)] == ["cpu_busy"]
    peers = evaluate(tmp_path, series, peers_query(target, 300.0, ()).expr)
    ids = {target.series.ids[name] for name in target.series.ids}
    assert ids == set(_HOSTS)
    assert sorted(labels["instance"] for labels in peers) == [_NAMES[named][0], _NAMES[named][2]]
    members = evaluate(tmp_path, series, f"node_cpu_seconds_total{{{target.members}}}")
    assert {labels["region"] for labels in members} == {"us-east-1"}
    assert len(members) == len(_HOSTS)


@pytest.mark.parametrize("every_s", [5, 15, 30, 60])
def test_every_role_has_an_answer_at_any_interval(tmp_path: Path, every_s: int) -> None:
    """Also between two scrapes of Prometheus' default, a minute."""
    series = {f'node_cpu_seconds_total{{mode="idle",instance_id="{_ID}"}}': "0+6x400"}
    latest = latest_query(Target(id=_ID), at=300.0)
    answer = evaluate(tmp_path, series, latest.expr, every=f"{every_s}s", at="20m31s")
    assert [labels["role"] for labels in answer] == ["cpu_busy"]


def test_series_that_have_the_id_are_selected_by_it(tmp_path: Path) -> None:
    """Also where the alert does not name it."""
    series = {f'node_cpu_seconds_total{{mode="idle",instance_id="{_ID}",asg="web"}}': "0+6x40"}
    with ThreadPoolExecutor(2) as pool:
        target = make_resolver(pool, tmp_path, series).resolve(ALERT, ask=True)
    assert target.series is None
    assert target.selector == f'instance_id="{_ID}"'
    assert target.members == 'asg="web"'


_OF_ID = {"alertname": "HighCPU", "instance_id": _ID}
_OF_GROUP = {"alertname": "IdleCapacity", "asg": "web"}


@pytest.mark.parametrize("alert", [ALERT, _OF_ID, _OF_GROUP], ids=["host", "id", "group"])
@pytest.mark.parametrize("label", ["instance_id", "instance"])
def test_a_groups_series_are_selected_without_a_label_for_it(
    tmp_path: Path, alert: Mapping[str, str], label: str
) -> None:
    """AWS tells who is in the group; a host of another one is none of its members."""
    cpu = 'node_cpu_seconds_total{mode="idle",%s="%s"}'
    series = {cpu % (label, host): "0+6x40" for host in (*_HOSTS, "i-000000000000000ff")}
    with ThreadPoolExecutor(2) as pool:
        target = make_resolver(pool, tmp_path, series).resolve(alert, ask=True)
    members = evaluate(tmp_path, series, f"node_cpu_seconds_total{{{target.members}}}")
    assert sorted(labels[target.host_label] for labels in members) == sorted(_HOSTS)


def test_a_host_outside_groups_is_found_as_well(tmp_path: Path) -> None:
    """AWS is asked for it by its id, as no group leads to it."""
    series = {'node_cpu_seconds_total{mode="idle",instance="10.0.0.2:9104"}': "0+1x30"}
    with ThreadPoolExecutor(2) as pool:
        resolver = make_resolver(pool, tmp_path, series)
        finder = resolver.series
        assert finder is not None
        found = finder.find(Target(id=_ID, kind=TargetKind.INSTANCE), ALERT)
    assert found is not None
    assert found.labels is not None
    assert found.labels.label == "instance"


@pytest.mark.parametrize(
    ("expr", "placed"),
    [
        ('up{asg="web"} == bool 1', 'up{asg="web",region=~"|eu"} == bool 1'),
        (
            "a{x='1',asg=~'web'} + b{asg=\"web-2\"}",
            "a{x='1',asg=~'web',region=~\"|eu\"} + b{asg=\"web-2\"}",
        ),
        ('up{asg="web",region=~"|eu",x="1"}', 'up{asg="web",region=~"|eu",x="1"}'),
        ('up{xasg="web"}', 'up{xasg="web"}'),
    ],
)
def test_a_group_of_that_name_elsewhere_is_not_meant(expr: str, placed: str) -> None:
    """Also where a playbook's own query names the group with `$asg`."""
    assert at_place(expr, "web", 'region=~"|eu"') == placed
    assert at_place(expr, "web", "") == expr
