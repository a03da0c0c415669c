"""A pipeline announces a deploy over the API."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, Live, live


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("changes")) as service:
        yield service


def test_a_change_is_on_record(service: Live) -> None:
    body = {"asg": GROUP, "comment": "web 1.2.3"}
    answer = service.call("POST", "/api/v1/changes", Role.OPERATOR, json=body)
    assert answer.status_code == HTTPStatus.CREATED
    told = answer.json()
    assert (told["asg"], told["comment"], told["account"]) == (GROUP, "web 1.2.3", None)
    page = service.call("GET", "/api/v1/audit?limit=1000", Role.VIEWER).json()
    announced = [one for one in page["items"] if one["event"] == "change_announced"]
    assert [one["detail"]["what"] for one in announced] == ["web 1.2.3"]


@pytest.mark.parametrize("at", ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_a_change_of_another_day_is_refused(service: Live, at: str) -> None:
    body = {"comment": "web 1.2.3", "at": at}
    answer = service.call("POST", "/api/v1/changes", Role.OPERATOR, json=body)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
