"""A subscription to a topic: SNS asks, an admin confirms, AWS is told; moto stands for AWS."""

import gc
import warnings
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import boto3
import pytest
from moto import mock_aws

from receiver.cli.main import main
from receiver.http.access.callers import Role
from tests.api_fixtures import Live, live
from tests.console.console_fixtures import Visitor
from tests.webhook.sns_fixtures import TOPIC, Sns

_PATH = "/api/v1/sns/subscriptions"
_COMMENT = {"comment": "alarms of production"}


@pytest.fixture
def sns() -> Sns:
    return Sns()


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory, sns: Sns) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("subscriptions")
    with live(folder, certificates=sns.client(), sns_topics=f"{TOPIC},{TOPIC}-2") as service:
        yield service


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moto's SNS, with the topic, and a subscription that waits for its token."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        aws = boto3.client("sns", region_name="eu-west-1")
        aws.create_topic(Name="alerts")
        yield aws


def _ask(service: Live, body: dict[str, Any]) -> str:
    answer = service.call("POST", "/webhook/sns", json=body)
    assert answer.status_code == HTTPStatus.OK, answer.text
    return str(body["MessageId"])


def _waiting(service: Live) -> list[dict[str, Any]]:
    return list(service.call("GET", _PATH, Role.ADMIN).json()["items"])


@pytest.mark.usefixtures("topic")
def test_a_subscription_waits_for_an_admin(service: Live, sns: Sns) -> None:
    """Once, however often SNS asks; nobody has told AWS by then. All of it is on record."""
    body = sns.confirmation()
    asked = _ask(service, body)
    assert _ask(service, body) == asked
    assert [(item["id"], item["topic"]) for item in _waiting(service)] == [(asked, TOPIC)]
    path = f"{_PATH}/{asked}/confirm"
    assert service.call("POST", path, Role.OPERATOR, json=_COMMENT).status_code == 403
    assert len(_waiting(service)) == 1
    assert service.call("POST", path, Role.ADMIN, json=_COMMENT).json()["topic"] == TOPIC
    assert _waiting(service) == []
    assert service.call("POST", path, Role.ADMIN, json=_COMMENT).status_code == 404
    events = {record["event"]: record for record in service.audit()}
    assert events["sns_subscription_requested"]["detail"]["topic"] == TOPIC
    confirmed = events["sns_subscription_confirmed"]
    assert confirmed["actor"] == "admin"
    assert confirmed["detail"]["subscription_arn"].startswith(TOPIC)
    assert confirmed["detail"]["comment"] == _COMMENT["comment"]
    assert body["Token"] not in str(service.audit())


def test_a_forged_confirmation_waits_for_nobody(service: Live, sns: Sns) -> None:
    for body in (
        Sns().confirmation(),
        sns.confirmation(TopicArn=f"{TOPIC}-of-others"),
        {**sns.confirmation(), "Token": "0" * 10},
    ):
        answer = service.call("POST", "/webhook/sns", json=body)
        assert answer.status_code == HTTPStatus.FORBIDDEN
    assert _waiting(service) == []


@pytest.mark.usefixtures("topic")
def test_what_aws_refuses_goes_on_waiting(service: Live, sns: Sns) -> None:
    asked = _ask(service, sns.confirmation(TopicArn=f"{TOPIC}-2"))
    answer = service.call("POST", f"{_PATH}/{asked}/confirm", Role.ADMIN, json=_COMMENT)
    assert answer.status_code == HTTPStatus.CONFLICT
    assert "NotFound" in answer.json()["detail"]
    assert len(_waiting(service)) == 1


@pytest.mark.usefixtures("topic")
def test_the_command_confirms(
    service: Live,
    sns: Sns,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The only one that waits; of several, the one that is named."""
    file = service.folder / "admin"
    file.write_text(service.tokens[Role.ADMIN])
    monkeypatch.setenv("SMARTCLOUDOPS_URL", service.url)
    monkeypatch.setenv("SMARTCLOUDOPS_TOKEN_FILE", str(file))
    command = ["sns", "confirm", "--comment", "alarms of production"]
    with pytest.raises(SystemExit) as nothing:
        main(command)
    assert nothing.value.code == 1
    _ask(service, sns.confirmation())
    _ask(service, sns.confirmation(TopicArn=f"{TOPIC}-2"))
    with pytest.raises(SystemExit) as several:
        main(command)
    assert several.value.code == 1
    assert f"{TOPIC}, {TOPIC}-2" in capsys.readouterr().err
    main([*command, TOPIC])
    assert capsys.readouterr().out == f"{TOPIC} is confirmed\n"
    assert [item["topic"] for item in _waiting(service)] == [f"{TOPIC}-2"]


@pytest.mark.usefixtures("topic")
def test_an_admin_confirms_in_the_console(service: Live, sns: Sns) -> None:
    """Others do not see what waits."""
    asked = _ask(service, sns.confirmation())
    viewer, admin = Visitor(service=service), Visitor(service=service)
    with viewer.http, admin.http:
        viewer.log_in(Role.VIEWER)
        assert TOPIC not in viewer.get("/controls").text
        admin.log_in(Role.ADMIN)
        assert TOPIC in admin.get("/controls").text
        admin.submit(f"/controls/subscriptions/{asked}/confirm", comment="alarms")
    assert _waiting(service) == []


def test_an_emulated_sns_cannot_deliver(service: Live, topic: Any) -> None:
    """Moto really posts, with a signature that it made up: such a message is a forged one."""
    topic.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=f"{service.url}/webhook/sns")
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        topic.publish(TopicArn=TOPIC, Message='{"alerts": []}')
        # Moto leaves its connection open.
        gc.collect()
    metric = "smartcloudops_webhook_rejected_total"
    assert service.system.registry.get_sample_value(metric, {"code": "403"}) == 1
