"""Each sender of alerts, and each way in which a delivery may be wrong: what becomes of it."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from receiver.http.access.callers import Role
from tests.api_fixtures import Live, live
from tests.webhook.sns_fixtures import CERTIFICATE, TOPIC, Sns, alarm, moment

_ALERT = {
    "status": "firing",
    "labels": {"alertname": "acting", "instance_id": "i-00000000000000000"},
    "annotations": {"summary": "CPU above 90 %"},
    "startsAt": "2026-11-23T06:39:31.435Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "d76ace51dbbb114a",
}
_FROM_AMP = {
    "receiver": "default",
    "status": "firing",
    "alerts": [_ALERT | {"startsAt": "2026-11-23 06:39:31.435 +0000 UTC"}],
    "groupLabels": {"alertname": "acting"},
}
_GRAFANA = {
    "receiver": "smartcloudops",
    "orgId": 1,
    "version": "1",
    "groupKey": '{}/{}:{alertname="acting"}',
    "title": "[FIRING:1] acting",
    "state": "alerting",
    "message": "**Firing**",
    "externalURL": "/",
    "status": "firing",
    "truncatedAlerts": 0,
}


@dataclass
class Doors:
    """A service whose topic is TOPIC, and the SNS that signs for it."""

    service: Live
    sns: Sns

    def alertmanager(self, body: object) -> httpx.Response:
        return self.post("alertmanager", body, Role.WEBHOOK)

    def grafana(self, body: object) -> httpx.Response:
        return self.post("grafana", body, Role.WEBHOOK)

    def by_sns(self, body: object) -> httpx.Response:
        return self.post("sns", body)

    def post(self, door: str, body: object, role: Role | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.service.call("POST", f"/webhook/{door}", role, content=content)

    def runs(self) -> list[dict[str, Any]]:
        answer = self.service.call("GET", "/api/v1/runs?limit=1000", Role.VIEWER)
        return list(answer.json()["items"])

    def alertnames(self) -> list[str]:
        return [run["alert"]["labels"].get("alertname", "") for run in self.runs()]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    sns = Sns()
    folder = tmp_path_factory.mktemp("doors")
    with live(folder, certificates=sns.client(), sns_topics=f"{TOPIC}, {TOPIC}-2") as service:
        yield Doors(service, sns)


def _named(name: str, **changes: Any) -> dict[str, Any]:
    return {**_ALERT, "labels": {**_ALERT["labels"], "alertname": name}, **changes}  # type: ignore[dict-item]


def _v4(*alerts: object) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": list(alerts)}


def _v1(*alerts: object) -> dict[str, Any]:
    return {**_GRAFANA, "alerts": list(alerts)}


def _at_each_door(doors: Doors, body: Callable[[str], object]) -> dict[str, int]:
    return {
        "alertmanager": doors.alertmanager(body("4")).status_code,
        "grafana": doors.grafana(body("1")).status_code,
        "sns": doors.by_sns(body("sns")).status_code,
    }


@pytest.mark.parametrize(
    ("fault", "body", "expected"),
    [
        ("not JSON", lambda _: b"{", (400, 400, 400)),
        ("another shape", lambda _: {"text": "hello"}, (422, 422, 422)),
        ("the shape of another door", lambda of: _v1() if of == "4" else _v4(), (422, 422, 422)),
        ("beyond its size", lambda _: b" " * (16 * 1024 * 1024 + 1), (413, 413, 413)),
    ],
)
def test_a_faulty_body(
    doors: Doors, fault: str, body: Callable[[str], object], expected: tuple[int, ...]
) -> None:
    assert _at_each_door(doors, body) == dict(
        zip(("alertmanager", "grafana", "sns"), expected, strict=True)
    ), fault


def _deliver(doors: Doors, door: str, alert: dict[str, Any]) -> dict[str, int]:
    match door:
        case "alertmanager":
            answer = doors.alertmanager(_v4(alert))
        case "grafana":
            answer = doors.grafana(_v1(alert))
        case _:
            answer = doors.by_sns(doors.sns.notification({**_FROM_AMP, "alerts": [alert]}))
    assert answer.status_code == HTTPStatus.OK, answer.text
    return dict(answer.json())


def _counts(**counts: int) -> dict[str, int]:
    return {"accepted": 0, "duplicates": 0, "resolved": 0, "rejected": 0, **counts}


@pytest.mark.parametrize("door", ["alertmanager", "grafana", "amp"])
def test_the_same_inbox(doors: Doors, door: str) -> None:
    """New, a copy, the end, without labels: the same answers, and one run."""
    alert = _named(f"inbox-{door}")
    assert _deliver(doors, door, alert) == _counts(accepted=1)
    assert _deliver(doors, door, alert) == _counts(duplicates=1)
    ended = {**alert, "status": "resolved", "endsAt": moment(time.time())}
    assert _deliver(doors, door, ended) == _counts(resolved=1)
    assert _deliver(doors, door, {"status": "firing"}) == _counts(rejected=1)
    assert doors.alertnames().count(f"inbox-{door}") == 1


def test_one_alert_by_two_doors_is_one_run(doors: Doors) -> None:
    alert = _named("two-doors")
    assert _deliver(doors, "alertmanager", alert) == _counts(accepted=1)
    assert _deliver(doors, "amp", alert) == _counts(duplicates=1)


# Grafana


def test_grafana_without_an_address_of_its_own(doors: Doors) -> None:
    """Its URLs are then relative; no decision reads them."""
    relative = {
        "generatorURL": "/alerting/grafana/1afz29v7z/view?orgId=1",
        "silenceURL": "/alerting/silence/new?alertmanager=grafana",
        "dashboardURL": "",
        "panelURL": "",
        "imageURL": "",
        "values": {"B": 44.23943737541908, "C": 1},
        "orgId": 1,
    }
    assert _deliver(doors, "grafana", _named("relative", **relative)) == _counts(accepted=1)


@pytest.mark.parametrize("status", ["firing", "resolved"])
@pytest.mark.parametrize(
    "alert",
    [
        {"labels": {"alertname": "DatasourceNoData", "rulename": "cpu", "instance_id": "i-1"}},
        {"labels": {"alertname": "DatasourceError", "rulename": "cpu"}},
        {"labels": {"alertname": "cpu"}, "annotations": {"grafana_state_reason": "NoData"}},
        {"labels": {"alertname": "cpu"}, "annotations": {"grafana_state_reason": "Error"}},
        {"labels": {"alertname": "cpu"}, "annotations": {"grafana_state_reason": "MissingSeries"}},
    ],
)
def test_missing_data_are_no_incident_and_no_recovery(
    doors: Doors, alert: dict[str, Any], status: str
) -> None:
    assert _deliver(doors, "grafana", {**alert, "status": status}) == _counts(rejected=1)
    assert not {"cpu", "DatasourceNoData", "DatasourceError"} & set(doors.alertnames())


def test_what_grafana_leaves_out_is_told(doors: Doors) -> None:
    """There is no API to ask for it, so it is counted as lost, and not as fetched."""
    registry, labels = doors.service.system.registry, {"outcome": "lost"}
    metric = "smartcloudops_truncated_groups_total"
    before = registry.get_sample_value(metric, labels) or 0.0
    doors.grafana({**_v1(_named("cut")), "truncatedAlerts": 3})
    assert registry.get_sample_value(metric, labels) == before + 1


# Amazon SNS


@pytest.mark.parametrize("version", ["1", "2"])
def test_sns_proves_itself_by_either_signature(doors: Doors, version: str) -> None:
    message = {**_FROM_AMP, "alerts": [_named(f"version-{version}")]}
    body = doors.sns.notification(message, SignatureVersion=version, Subject="[FIRING:1] ü")
    assert doors.by_sns(body).json() == _counts(accepted=1)


def _changed(**changes: Any) -> Callable[[Sns], dict[str, Any]]:
    """A message that was changed after it was signed."""
    return lambda sns: {**sns.notification(alarm("ALARM")), **changes}


_FOREIGN = "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0123abcd.pem"


@pytest.mark.parametrize(
    "forge",
    [
        _changed(Message=json.dumps(alarm("ALARM", AlarmName="acting"))),
        _changed(Subject="acting"),
        _changed(MessageId="00000000-0000-0000-0000-000000000000"),
        _changed(TopicArn=f"{TOPIC}-2"),
        _changed(Signature="AAAA"),
        _changed(Signature="?"),
        _changed(SignatureVersion="3"),
        _changed(SigningCertURL=_FOREIGN),
        _changed(SigningCertURL=CERTIFICATE.replace("https", "http")),
        _changed(SigningCertURL=CERTIFICATE.replace("eu-west-1", "eu-west-2")),
        _changed(SigningCertURL=CERTIFICATE.replace("amazonaws.com", "amazonaws.com.cn")),
        _changed(SigningCertURL=CERTIFICATE.replace("/Simple", "/bucket/Simple")),
        _changed(SigningCertURL=CERTIFICATE + "?a=.pem"),
        _changed(SigningCertURL=CERTIFICATE.replace("https://", "https://a@b@")),
        lambda _: Sns().notification(alarm("ALARM")),
        lambda sns: sns.notification(alarm("ALARM"), TopicArn=f"{TOPIC}-of-others"),
        lambda sns: sns.notification(alarm("ALARM"), Timestamp=moment(time.time() - 7200)),
        lambda sns: sns.notification(alarm("ALARM"), Timestamp=moment(time.time() + 3600)),
    ],
)
def test_forged_old_and_foreign_messages_are_refused(
    doors: Doors, forge: Callable[[Sns], dict[str, Any]]
) -> None:
    """Nothing is stored, and no certificate is fetched but SNS's own."""
    answer = doors.by_sns(forge(doors.sns))
    assert answer.status_code == HTTPStatus.FORBIDDEN, answer.text
    assert "web-cpu" not in doors.alertnames()
    assert set(doors.sns.fetched) <= {CERTIFICATE}


def test_a_replayed_message_changes_nothing(doors: Doors) -> None:
    """Also one whose alert is over by then: SNS itself delivers a message again, with its id."""
    arn = f"{alarm('ALARM')['AlarmArn']}-replayed"
    named = {"AlarmArn": arn, "AlarmName": "replayed"}
    fires = doors.sns.notification(alarm("ALARM", **named))
    assert doors.by_sns(fires).json() == _counts(accepted=1)
    (run,) = [one for one in doors.runs() if one["alert"]["labels"]["alertname"] == "replayed"]
    doors.service.until(run["id"], "refused")
    assert doors.by_sns(doors.sns.notification(alarm("OK", **named))).json() == _counts(resolved=1)
    assert doors.by_sns(fires).json() == _counts(duplicates=1)
    assert doors.alertnames().count("replayed") == 1


def test_an_alarm_is_its_arn(doors: Doors) -> None:
    """Whatever else of it was changed since; without data it neither begins nor ends."""
    arn = f"{alarm('ALARM')['AlarmArn']}-arn"

    since = moment(time.time())

    def deliver(state: str, **changes: Any) -> dict[str, int]:
        own = {"AlarmArn": arn, "AlarmName": "arn", "StateChangeTime": since, **changes}
        body = doors.sns.notification(alarm(state, **own))
        return dict(doors.by_sns(body).json())

    assert deliver("INSUFFICIENT_DATA") == _counts(rejected=1)
    assert deliver("ALARM") == _counts(accepted=1)
    assert deliver("ALARM", Trigger={"Dimensions": []}) == _counts(duplicates=1)
    assert deliver("INSUFFICIENT_DATA") == _counts(rejected=1)
    assert deliver("OK", Trigger=None) == _counts(resolved=1)
    (run,) = [run for run in doors.runs() if run["alert"]["labels"]["alertname"] == "arn"]
    assert run["alert"]["labels"] == {
        "alertname": "arn",
        "alarm_arn": arn,
        "region": "eu-west-1",
        "account": "123456789012",
        "instance_id": "i-0a1b2c3d4e5f60718",
    }


def test_an_alarm_on_several_instances_names_none(doors: Doors) -> None:
    dimensions = [[{"name": "InstanceId", "value": f"i-{number:017x}"}] for number in (1, 2)]
    metrics = [
        {"Id": f"m{number}", "MetricStat": {"Metric": {"Dimensions": pairs}}}
        for number, pairs in enumerate(dimensions)
    ]
    own = {"AlarmArn": f"{alarm('ALARM')['AlarmArn']}-several", "AlarmName": "several"}
    body = doors.sns.notification(alarm("ALARM", Trigger={"Metrics": metrics}, **own))
    assert doors.by_sns(body).json() == _counts(accepted=1)
    (run,) = [run for run in doors.runs() if run["alert"]["labels"]["alertname"] == "several"]
    assert "instance_id" not in run["alert"]["labels"]


@pytest.mark.parametrize(
    "text",
    [
        "Alerts Firing:\nLabels:\n - alertname = acting",
        '["acting"]',
        '{"alerts": "acting"}',
        json.dumps(alarm("ALARM", AlarmArn=None)),
        json.dumps(alarm("RED")),
    ],
)
def test_a_signed_message_of_another_shape(doors: Doors, text: str) -> None:
    """Such as AMP's text, where its JSON template is missing: the answer says which is wanted."""
    answer = doors.by_sns(doors.sns.notification(text))
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "message" in answer.json()["detail"] or "alarm" in answer.json()["detail"]


def test_a_message_without_its_envelope_is_refused(doors: Doors) -> None:
    """Raw delivery has no signature."""
    answer = doors.by_sns(alarm("ALARM"))
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "raw message delivery must be off" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sns", "status"),
    [
        (Sns(name="example.com"), HTTPStatus.FORBIDDEN),
        (Sns(name="sns.amazonaws.com.example"), HTTPStatus.FORBIDDEN),
        (Sns(valid_days=-1), HTTPStatus.FORBIDDEN),
        (Sns(status=404), HTTPStatus.FORBIDDEN),
        (Sns(status=503), HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
def test_a_certificate_that_is_not_sns_own(
    tmp_path_factory: pytest.TempPathFactory, sns: Sns, status: HTTPStatus
) -> None:
    """Where it cannot be fetched, SNS delivers again."""
    folder = tmp_path_factory.mktemp("certificate")
    with live(folder, certificates=sns.client(), sns_topics=TOPIC) as service:
        assert Doors(service, sns).by_sns(sns.notification(alarm("ALARM"))).status_code == status


def test_the_certificate_is_fetched_once(doors: Doors) -> None:
    for _ in range(3):
        doors.by_sns(doors.sns.notification(alarm("INSUFFICIENT_DATA")))
    assert doors.sns.fetched.count(CERTIFICATE) == 1


def test_forged_names_of_certificates_are_not_all_fetched(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Anyone may post here; SNS is not asked for each name that somebody makes up."""
    sns = Sns(status=404)
    folder = tmp_path_factory.mktemp("flood")
    with live(folder, certificates=sns.client(), sns_topics=TOPIC) as service:
        doors = Doors(service, sns)
        for number in range(30):
            url = CERTIFICATE.replace("56e67fcb41f6", f"{number:012x}")
            doors.by_sns(sns.notification(alarm("ALARM"), SigningCertURL=url))
    assert len(sns.fetched) <= 11
