"""Who alerts in a storm, and what a decision that comes late in one must not do to the records."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydantic import HttpUrl
from sqlalchemy import Connection
from ulid import ULID

from actions.execution import claims, kill_switch
from actions.execution.records import ClaimRequest, Rates
from actions.step_key import StepKey, StepKind
from receiver.db.database import Database
from receiver.decision.alerting import AlertingReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.monitoring.servers import Server
from receiver.playbooks.loader import load
from receiver.playbooks.matchers import parse
from receiver.runs import intake, store, transitions
from receiver.runs.model import State
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.payload import Alert
from tests import fake_prometheus

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
        alerting = store.alerting_instances(connection, _GROUP, _NOW - 300)
    assert len({alert.instance_id for alert in alerting}) == 5
    assert len(alerting) == 1000


def _claim(connection: Connection, run_id: str, target: str) -> None:
    request = ClaimRequest(
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
        assert claims.claims_on(connection, target)[target].held
        assert transitions.move(connection, read, State.REFUSED, _NOW, refusal="storm")
        assert not claims.claims_on(connection, target)[target].held


def _prometheus(name: str, firing: list[str] | None) -> Prometheus:
    """A server that fires HighCPU on these instances; without any, it does not answer."""

    def answer(_: httpx.Request) -> httpx.Response:
        if firing is None:
            return httpx.Response(503)
        labels = [{"alertname": "HighCPU", "instance_id": host} for host in firing]
        result = [{"metric": one, "value": [_NOW, "1"]} for one in labels]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    client = fake_prometheus.client(answer, lambda: _NOW)
    return Prometheus(f"http://{name}", client=client, clock=lambda: _NOW)


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
    labels = [
        {"alertname": "HighCPU", "severity": "warning", "cluster": name}
        for name in ("us", "eu", "us")
    ]
    reports = [
        store.AlertingInstance(run_id=str(n), instance_id=host, labels=own, judged=False)
        for n, (host, own) in enumerate(zip(_HOSTS, labels, strict=True))
    ]
    reader = AlertingReader(
        playbooks=load(Path(__file__).parents[2] / "playbooks"),
        prometheus=replace(_prometheus("us", here), others=[(known, elsewhere)]),
        resolved=lambda _: (),
    )
    read = reader.read(reports, [_HOSTS[0]], _NOW)
    assert read.alerting(("HighCPU", _HOSTS[0])) == alerting
