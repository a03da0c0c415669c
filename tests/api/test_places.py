"""Accounts and regions over the API: as fields, as filters, and each stopped by itself."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.app import Api, app
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from tests.end_to_end.places_fixtures import HUB, PLACES, SPOKE, Places, labels_of, member_id

_SPOKE_EU = PLACES[3]


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places(tmp_path)
    yield places
    places.close()


@dataclass
class Client:
    """An admin who calls the application in this process."""

    application: Api
    secret: str

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.application)
            own = {"Authorization": f"Bearer {self.secret}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://service", headers=own
            ) as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())


@pytest.fixture
def client(places: Places) -> Client:
    file = places.folder / "tokens.json"
    secret = tokens.create(file, Role.ADMIN, "root")
    return Client(app(places.service, tokens.load(file)), secret)


def _items(client: Client, path: str) -> list[dict[str, Any]]:
    answer = client.call("GET", path)
    assert answer.status_code == HTTPStatus.OK, answer.text
    return list(answer.json()["items"])


def test_what_a_run_did_is_found_by_account_and_region(places: Places, client: Client) -> None:
    """Runs and cooldowns; the cooldown of one is ended alone."""
    for place in PLACES:
        places.deliver_labels({**labels_of(place, asg="web-asg"), "alertname": "Busy"})
    places.pass_time(60)
    runs = _items(client, f"/api/v1/runs?account={SPOKE}&region=eu-west-1")
    assert [(run["account"], run["region"], run["target"]) for run in runs] == [
        (SPOKE, "eu-west-1", "web-asg")
    ]
    cooling = _items(client, f"/api/v1/cooldowns?account={SPOKE}")
    assert [(one["target"], one["region"]) for one in cooling] == [
        ("web-asg", "eu-west-1"),
        ("web-asg", "us-east-1"),
    ]
    page = client.call("GET", "/api/v1/cooldowns?limit=1").json()
    following = client.call("GET", f"/api/v1/cooldowns?limit=3&cursor={page['next_cursor']}").json()
    assert len({(one["account"], one["region"]) for one in page["items"] + following["items"]}) == 4
    unclear = client.call("DELETE", "/api/v1/cooldowns/web-asg")
    assert unclear.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert all(str(place) in unclear.text for place in PLACES)
    where = f"account={SPOKE}&region=eu-west-1"
    assert client.call("DELETE", f"/api/v1/cooldowns/web-asg?{where}").status_code == HTTPStatus.OK
    assert len(_items(client, "/api/v1/cooldowns")) == 3


def test_an_account_is_paused_and_resumed_alone(places: Places, client: Client) -> None:
    """Another account goes on; resuming everything does not resume it."""
    body = {"comment": "migration", "account": SPOKE}
    paused = client.call("POST", "/api/v1/pause", json=body).json()
    assert (paused["paused"], paused["account"], paused["region"]) == (True, SPOKE, None)
    assert (
        client.call("POST", "/api/v1/resume", json={"comment": "x"}).json()["pauses"]
        == paused["pauses"]
    )
    for place in PLACES:
        places.deliver_labels(labels_of(place, instance_id=member_id(place, 0)))
    places.pass_time(5)
    assert {place for place, _ in places.acts()} == set(PLACES[:2])
    metrics = client.call("GET", "/metrics").text
    assert 'smartcloudops_paused{account="spoke",region="eu-west-1"} 1.0' in metrics
    assert 'smartcloudops_paused{account="",region=""} 0.0' in metrics
    assert SPOKE not in metrics
    assert client.call("POST", "/api/v1/resume", json=body).json()["pauses"] == []
    for wrong in ({"account": "9" * 12}, {"account": SPOKE, "everything": True}, {"region": "x"}):
        answer = client.call("POST", "/api/v1/pause", json={"comment": "x", **wrong})
        assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_person_names_the_account_and_region_of_a_run(places: Places, client: Client) -> None:
    """Without them two would fit, and it is no target."""
    body = {"playbook": "busy", "target": "web-asg", "comment": "x"}
    for where in ({}, {"account": SPOKE, "region": "eu-west-1"}):
        started = client.call("POST", "/api/v1/runs", json=body | where)
        assert started.status_code == HTTPStatus.CREATED, started.text
    places.pass_time(5)
    assert places.acts() == {(_SPOKE_EU, "web-asg")}
    refusals = [run["refusal"] for run in _items(client, "/api/v1/runs")]
    assert refusals == [None, "no_target"]
    unknown = client.call("POST", "/api/v1/runs", json=body | {"account": "9" * 12})
    assert unknown.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_an_arming_is_of_one_account_and_region(client: Client) -> None:
    """A disarming of everything is of each."""
    arm = {"mode": "auto", "comment": "x", "force": True}
    assert (
        client.call("POST", "/api/v1/playbooks/busy/arm", json=arm).status_code
        == HTTPStatus.UNPROCESSABLE_ENTITY
    )
    there = {"account": HUB, "region": "us-east-1"}
    armed = client.call("POST", "/api/v1/playbooks/busy/arm", json=arm | there)
    assert (armed.json()["account"], armed.json()["region"]) == (HUB, "us-east-1")
    client.call("POST", "/api/v1/playbooks/busy/disarm", json={"comment": "x"})
    shown = {one["name"]: one for one in _items(client, "/api/v1/playbooks")}["busy"]["armings"]
    assert {(one["account"], one["region"]) for one in shown} == {
        (place.account, place.region) for place in PLACES
    }
    assert {one["mode"] for one in shown} == {"observe"}
