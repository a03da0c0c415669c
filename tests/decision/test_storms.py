"""Who alerts in a storm, and what a decision that comes late in one must not do to the records."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote_plus

import httpx
import pytest
from pydantic import HttpUrl
from sqlalchemy import Connection
from ulid import ULID

from actions.canonical_json import canonical
from actions.execution import claims, kill_switch
from actions.execution.records import ClaimRequest, Rates
from actions.place import HOME
from actions.step_key import StepKey, StepKind
from receiver.db.database import Database
from receiver.decision.alerting import AlertingReader
from receiver.evidence.firing_alerts import ReportedAlert
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.targets import mapping
from receiver.evidence.targets.rules import TargetRules
from receiver.monitoring.servers import Server
from receiver.playbooks.loader import load
from receiver.playbooks.matchers import parse
from receiver.runs import intake, store, transitions
from receiver.runs.model import State
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.payload import Alert
from tests import fake_prometheus
from tests.evidence.test_target_series import evaluate

_GROUP, _NOW = "web-asg", 1_800_000_000.0


def _waiting(instance: int, at: float) -> QueuedAlert:
    labels = {"alertname": "HighCPU", "instance_id": f"i-{instance:017x}", "asg": _GROUP}
    alert = Alert(
        key="a" * 16,
        fingerprint="a" * 16,
        firing=True,
        labels=labels,
        annotations={},
        starts_at=at,
        ends_at=None,
    )
    return QueuedAlert(id=str(ULID()), received_at=at, alert=alert)


def test_an_instance_with_many_alerts_hides_no_other(state: Database) -> None:
    """Else a flood from one of them would have a storm look like its trouble alone."""
    others = [_waiting(instance, _NOW - 60) for instance in range(1, 5)]
    flood = [_waiting(0, _NOW - 30 + n / 100) for n in range(1500)]
    with state.write() as connection:
        intake.insert_from_inbox(connection, [*others, *flood], _NOW)
    with state.read() as connection:
        alerting = store.alerting_instances(connection, HOME, _GROUP, _NOW - 300)
    assert len({alert.instance_id for alert in alerting}) == 5
    assert len(alerting) == 1000


def _claim(connection: Connection, run_id: str, target: str) -> None:
    request = ClaimRequest(
        place=HOME,
        run_id=run_id,
        step=StepKey(StepKind.LADDER, 0),
        target=target,
        group=_GROUP,
        playbook="high-cpu",
        cooldown_s=60.0,
        rates=Rates(),
        counts=False,
    )
    assert isinstance(claims.acquire(connection, request, _NOW), int)


def test_who_decided_before_a_run_acted_does_not_end_it(state: Database) -> None:
    """A receiver that froze in a decision: meanwhile the run has acted, and is decided on again."""
    with state.write() as connection:
        kill_switch.set_paused(connection, paused=False, by="test", comment="", now=_NOW)
        intake.insert_from_inbox(connection, [alert := _waiting(0, _NOW)], _NOW)
        stale = store.get(connection, alert.id)
        assert stale is not None
        transitions.move(connection, stale, State.ACTING, _NOW, phase="x", steps_begun=1)
        acting = store.get(connection, alert.id)
        assert acting is not None
        transitions.move(connection, acting, State.RECEIVED, _NOW, phase=None)
        assert not transitions.move(connection, stale, State.REFUSED, _NOW, refusal="storm")


def test_a_run_that_ends_lets_go_of_what_it_held(state: Database) -> None:
    """Whatever was known of it when it was read: a hold that never ends shuts a target off."""
    target = "i-00000000000000000"
    with state.write() as connection:
        kill_switch.set_paused(connection, paused=False, by="test", comment="", now=_NOW)
        intake.insert_from_inbox(connection, [alert := _waiting(0, _NOW)], _NOW)
        read = store.get(connection, alert.id)
        assert read is not None
        _claim(connection, alert.id, target)
        assert claims.claims_on(connection, HOME, target)[target].held
        assert transitions.move(connection, read, State.REFUSED, _NOW, refusal="storm")
        assert not claims.claims_on(connection, HOME, target)[target].held


def _evaluates(folder: Path, series: Mapping[str, str]) -> Prometheus:
    """A server that has these series, by Prometheus' own engine."""

    def answer(request: httpx.Request) -> httpx.Response:
        query = parse_qs(request.content.decode())["query"][0]
        result = [{"metric": one, "value": [_NOW, "1"]} for one in evaluate(folder, series, query)]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    client = fake_prometheus.client(answer, lambda: _NOW)
    return Prometheus("http://prometheus", client=client, clock=lambda: _NOW)


def _prometheus(name: str, firing: list[str] | None) -> Prometheus:
    """A server that fires HighCPU on these instances; without any, it does not answer."""
    if firing is not None:
        return _fires(*({"alertname": "HighCPU", "instance_id": host} for host in firing))
    client = fake_prometheus.client(lambda _: httpx.Response(503), lambda: _NOW)
    return Prometheus(f"http://{name}", client=client, clock=lambda: _NOW)


def _fires(*firing: Mapping[str, str], asked: list[str] | None = None) -> Prometheus:
    """A server that fires these alerts."""

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(unquote_plus(request.content.decode()))
        state = {"__name__": "ALERTS", "alertstate": "firing"}
        series: list[dict[str, str]] = [{**state, **one} for one in firing]
        result = [{"metric": labels, "value": [_NOW, "1"]} for labels in series]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    client = fake_prometheus.client(answer, lambda: _NOW)
    return Prometheus("http://prometheus", client=client, clock=lambda: _NOW)


_HOSTS = [f"i-{number:017x}" for number in range(3)]


@pytest.mark.parametrize(
    ("here", "there", "alerting"),
    [
        (_HOSTS[:1], _HOSTS[1:2], {_HOSTS[0], _HOSTS[1]}),
        (_HOSTS[:1], [], {_HOSTS[0]}),
        # Without an answer each report counts.
        (_HOSTS[:1], None, set(_HOSTS)),
    ],
)
def test_each_prometheus_tells_which_of_its_alerts_fire(
    here: list[str], there: list[str] | None, alerting: set[str]
) -> None:
    """A report that nothing confirms is no part of a storm."""
    known = Server(url=HttpUrl("http://eu"), match=[parse('cluster="eu"')])
    elsewhere = _prometheus("eu", there)
    clusters = zip(_HOSTS, ("us", "eu", "us"), strict=True)
    reports = [_report({"instance_id": host, "cluster": name}, host) for host, name in clusters]
    prometheus = replace(_prometheus("us", here), others=[(known, elsewhere)])
    assert _alerting(reports, prometheus) == alerting


def _report(labels: Mapping[str, str], host: str) -> store.AlertingInstance:
    own = {"alertname": "HighCPU", "severity": "warning", **labels}
    return store.AlertingInstance(run_id=host, instance_id=host, labels=own, judged=False)


def _alerting(
    reports: Sequence[store.AlertingInstance],
    prometheus: Prometheus,
    active: Collection[str] = (),
) -> frozenset[str]:
    """Who alerts, for a decision on the first; Alertmanager has the alerts of `active` hosts."""
    hosts = {canonical(report.labels): report.instance_id for report in reports}
    reader = AlertingReader(
        playbooks=load(Path(__file__).parents[2] / "playbooks"),
        prometheus=prometheus,
        rules=TargetRules(mapping.load(None)),
        resolved=lambda _: (),
        is_active=lambda labels: hosts[canonical(labels)] in active,
    )
    own = ReportedAlert(labels=reports[0].labels, target=reports[0].instance_id)
    return reader.read(reports, [own], _NOW).alerting(own.key)


_SPELLED = {
    "address": ["10.0.0.1:9100", "10.0.0.2:9100", "10.0.0.3:9100"],
    "DNS name": ["ip-10-0-0-1.ec2.internal:9100", "web-2.example.com", "web-3.example.com:9100"],
    "id": _HOSTS,
    "tag": ["web 1", "web.2+x", "web|3 (ü).*"],
}


@pytest.mark.parametrize("names", _SPELLED.values(), ids=_SPELLED)
def test_a_storm_is_told_by_the_labels_that_a_shop_has(tmp_path: Path, names: list[str]) -> None:
    """Prometheus fires the alerts of the first two; an external label is in what is sent alone."""
    fired = [f'alertname="HighCPU",instance="{name}",severity="warning"' for name in names[:2]]
    fired += [f'alertname="Other",instance="{names[2]}"', 'alertname="HighCPU"']
    series = {f'ALERTS{{alertstate="firing",{labels}}}': "1x20" for labels in fired}
    reports = [
        _report({"instance": name, "region": "us-east-1"}, host)
        for name, host in zip(names, _HOSTS, strict=True)
    ]
    assert _alerting(reports, _evaluates(tmp_path, series)) == {*_HOSTS[:2]}


def test_an_alert_of_the_same_address_elsewhere_confirms_none() -> None:
    """A label that both have, and that says another place."""
    elsewhere = {"alertname": "HighCPU", "instance": "10.0.0.2:9100", "region": "eu-west-1"}
    own = {"alertname": "HighCPU", "instance": "10.0.0.1:9100"}
    reports = [
        _report({"instance": f"10.0.0.{n + 1}:9100", "region": "us-east-1"}, host)
        for n, host in enumerate(_HOSTS)
    ]
    assert _alerting(reports, _fires(own, elsewhere)) == {_HOSTS[0]}


@pytest.mark.parametrize(
    ("active", "alerting"),
    [(_HOSTS[:2], {*_HOSTS[:2]}), ((), {*_HOSTS})],
    ids=["Alertmanager has them", "another source"],
)
def test_alertmanager_tells_where_prometheus_has_no_alerts(
    active: list[str], alerting: set[str]
) -> None:
    """Rules that vmalert or a ruler evaluates leave no `ALERTS` in the store."""
    reports = [_report({"instance": f"10.0.0.{n + 1}:9100"}, host) for n, host in enumerate(_HOSTS)]
    assert _alerting(reports, _fires(), active) == alerting


def test_no_text_of_an_alert_hides_the_others() -> None:
    """It could break the query that is about all of them."""
    asked: list[str] = []
    odd = _report({"instance": "x\n\0" + "y" * 1_000}, _HOSTS[2])
    reports = [_report({"instance": f"10.0.0.{n + 1}:9100"}, _HOSTS[n]) for n in range(2)]
    fires = [{"alertname": "HighCPU", "instance": f"10.0.0.{n + 1}:9100"} for n in range(2)]
    assert _alerting([*reports, odd], _fires(*fires, asked=asked)) == {*_HOSTS[:2]}
    assert all("y" * 100 not in query for query in asked)
