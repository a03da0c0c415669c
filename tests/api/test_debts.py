"""What is lent is listed over the API, by the command and in the console."""

import json
from collections.abc import Iterator

import pytest

from actions.execution import debts
from actions.execution.ledger import Intent, Stage
from actions.step_key import StepKey, StepKind
from receiver.cli.main import main
from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, Live, live

_RUN = "01KAR0SZ1PCQSD8SGKXR6D7C9P"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("debts")) as service:
        with service.system.database.write() as connection:
            for index in range(3):
                debts.open_debt(connection, _lent(StepKey(StepKind.BEFORE, index), 1_000.0 + index))
        yield service


def _lent(step: StepKey, at: float) -> Intent:
    return Intent(
        run_id=_RUN,
        step=step,
        action="suspend_processes",
        target=GROUP,
        params={},
        before={"processes": ["ReplaceUnhealthy"]},
        fence=1,
        stage=Stage.DISPATCHED,
        started_at=at,
        dispatched_at=at,
    )


def test_debts_are_listed_oldest_first_and_in_pages(service: Live) -> None:
    page = service.call("GET", "/api/v1/debts?limit=2", Role.VIEWER).json()
    assert [debt["id"] for debt in page["items"]] == [f"{_RUN}/100", f"{_RUN}/101"]
    cursor = page["next_cursor"]
    page = service.call("GET", f"/api/v1/debts?limit=2&cursor={cursor}", Role.VIEWER).json()
    assert ([debt["id"] for debt in page["items"]], page["next_cursor"]) == ([f"{_RUN}/102"], None)
    assert page["items"][0] == {
        "id": f"{_RUN}/102",
        "run": _RUN,
        "action": "suspend_processes",
        "target": GROUP,
        "account": None,
        "region": None,
        "since": "1970-01-01T00:16:42.000Z",
        "state": "lent",
        "ended_at": None,
        "attempts": 0,
        "problem": None,
    }


def test_the_command_asks_the_service(
    service: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = service.folder / "viewer-token"
    token.write_text(service.tokens[Role.VIEWER])
    with pytest.raises(SystemExit) as ended:
        main(["debts"])
    assert ended.value.code == 2
    monkeypatch.setenv("SMARTCLOUDOPS_URL", service.url)
    monkeypatch.setenv("SMARTCLOUDOPS_TOKEN_FILE", str(token))
    main(["debts"])
    first, *_ = capsys.readouterr().out.splitlines()
    line = f"1970-01-01T00:16:40.000Z  suspend_processes on {GROUP}  lent  run {_RUN}  -"
    assert first == line
    main(["debts", "--json"])
    assert len(json.loads(capsys.readouterr().out)) == 3
    token.write_text("wrong")
    with pytest.raises(SystemExit) as ended:
        main(["debts"])
    assert ended.value.code == 1
    assert "answers 401" in capsys.readouterr().err
