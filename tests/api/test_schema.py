"""The document says what the API does: requests made from it find no error that it leaves out."""

from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from itertools import cycle
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from receiver.http.access.auth import ROLE, SIGNATURE
from receiver.http.access.callers import Role
from tests.api_fixtures import HOSTS, Live, live

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# So that all operations together take less than a minute.
_EXAMPLES = 25


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("schema")
    with live(folder, rate_limit=1e6, webhook_rate_limit=1e6) as service:
        service.asking(HOSTS[0])
        service.start("acting", HOSTS[1], dry_run=True)
        yield service


# Schemathesis' own, which is about how its failures repeat.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_requests_from_the_document_find_nothing_that_it_leaves_out(
    service: Live, mode: GenerationMode
) -> None:
    """Neither valid requests nor broken ones; no 5xx, no status or body of another form."""
    document = service.call("GET", "/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    headers = {"Authorization": f"Bearer {service.tokens[Role.ADMIN]}"}
    tried = set()
    listed = service.call("GET", "/api/v1/runs", Role.VIEWER).json()["items"]
    runs = cycle([*(run["id"] for run in listed), "0" * 26])
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # it says so where it is none

        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def attempt(case: Any) -> None:
            if mode is GenerationMode.POSITIVE and "run_id" in case.path_parameters:
                # What it makes up is never there.
                case.path_parameters["run_id"] = next(runs)
            case.call_and_validate(base_url=service.url, headers=headers, checks=_CHECKS)
            tried.add(case.operation.label)

        # A call that takes nothing cannot be made wrongly.
        with suppress(Unsatisfiable):
            attempt()
    assert len(tried) >= 15


def test_the_document_reads_well(service: Live) -> None:
    """Each call says what it does, what role it needs, and what it may answer, with examples."""
    document = service.call("GET", "/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"].endswith("."), where
            assert operation["tags"], where
            successes = [
                response for code, response in operation["responses"].items() if code[0] == "2"
            ]
            assert successes, where
            assert all(response["content"] for response in successes), where
            if operation.get(ROLE, SIGNATURE) != SIGNATURE:
                assert {"401", "403"} <= operation["responses"].keys(), where
            for code, answer in operation["responses"].items():
                if code not in {"200", "201", "202"} and path != "/readyz":
                    assert list(answer["content"]) == ["application/problem+json"], (where, code)
    examples = document["components"]["schemas"]["RunView"]["properties"]["id"]["examples"]
    assert len(examples[0]) == 26


def test_every_answer_has_an_id_and_headers_that_browsers_heed(service: Live) -> None:
    """Errors as well, which name the id in their body, too."""
    for path, status in (("/healthz", HTTPStatus.OK), ("/nothing", HTTPStatus.NOT_FOUND)):
        answer = service.call("GET", path)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 26
    given_id = {"X-Request-ID": "from-the-proxy-1"}
    answer = service.call("GET", "/nothing", headers=given_id)
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "from-the-proxy-1"
    answer = service.call("GET", "/nothing", headers={"X-Request-ID": "a b\tc<script>"})
    assert len(answer.headers["x-request-id"]) == 26


def test_lists_come_in_pages(service: Live) -> None:
    """Each item once, whatever the size of the page."""
    for number in range(3):
        service.hold(f"none-{number}")
    service.until(service.start("acting", HOSTS[2])["id"], "succeeded", "refused")
    for path, key in (
        ("overrides", "id"),
        ("cooldowns", "target"),
        ("playbooks", "name"),
        ("runs", "id"),
        ("audit", "seq"),
    ):
        whole = service.call("GET", f"/api/v1/{path}?limit=1000", Role.VIEWER).json()
        assert whole["next_cursor"] is None
        paged: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = service.call("GET", f"/api/v1/{path}", Role.VIEWER, params=query).json()
            assert len(page["items"]) <= 2
            paged += [item[key] for item in page["items"]]
            cursor = page["next_cursor"]
        if path != "audit":
            assert paged == [item[key] for item in whole["items"]], path
        assert len(set(paged)) == len(paged)
