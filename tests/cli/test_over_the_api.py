"""The commands for the night, against a running service."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.cli.main import main
from receiver.http.access.callers import Role
from tests.api_fixtures import Live, live


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("over-the-api")) as running:
        yield running


@pytest.fixture
def token(service: Live, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands' token, an operator's."""
    file = service.folder / "operator-token"
    file.write_text(service.tokens[Role.OPERATOR])
    monkeypatch.setenv("SMARTCLOUDOPS_URL", service.url)
    monkeypatch.setenv("SMARTCLOUDOPS_TOKEN_FILE", str(file))
    return file


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main([*arguments])
    return capsys.readouterr().out


@pytest.mark.usefixtures("token")
def test_a_night(service: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """What waits, why, and the answer; then a hold, of which the next refusal tells."""
    one, other = list(service.aws.world.groups["web-asg"].members)[:2]
    run = service.asking(one)
    assert "awaiting approval  1" in _told(capsys, "status")
    assert run["id"] in _told(capsys, "runs", "--state", "awaiting_approval", "--target", one)
    assert f"{run['id']}  asking  {one}  awaiting_approval" in _told(capsys, "why", one[:9])
    told = _told(capsys, "approve", run["id"], "go", "--yes")
    assert told.splitlines()[0] == run["question"]
    service.until(run["id"], "succeeded")
    assert run["plan"]["action"] in _told(capsys, "why", one)
    assert f"instance_id={other}" in _told(capsys, "hold", other, "mine", "--for", "1h")
    service.until(service.start("asking", other)["id"], "refused")
    assert "stopped at override: " in _told(capsys, "why", other)
    assert json.loads(_told(capsys, "status", "--json"))["overrides"] == 1
    assert "no run of the last 24 hours" in _told(capsys, "why", "10.9.9.9")
    assert len(json.loads(_told(capsys, "runs", "--json", "--limit", "1"))) == 1


@pytest.mark.usefixtures("token")
def test_the_kill_switch(service: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert _told(capsys, "pause", "deploying") == "paused everywhere, by operator\n"
    one = list(service.aws.world.groups["web-asg"].members)[2]
    service.until(service.start("asking", one)["id"], "refused")
    assert "stopped at paused: " in _told(capsys, "why", one)
    assert _told(capsys, "resume", "done") == "not paused everywhere, by operator\n"


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["approve", "0" * 26, "go", "--yes"], 1, "answers 404"),
        (["hold", "web-asg", "", "--for", "1h"], 1, "answers 422"),
        (["hold", "web-asg", "why", "--for", "soon"], 2, "soon"),
        (["runs", "--state", "odd"], 2, "odd"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    answer = capsys.readouterr()
    assert (ended.value.code, answer.out, answer.err.count("\n")) == (status, "", 1)
    assert told in answer.err


def test_who_answered_already_is_told(
    service: Live, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that waits for nobody is not approved; a viewer may ask, but not order."""
    one = list(service.aws.world.groups["web-asg"].members)[3]
    run = service.asking(one)
    token.write_text(service.tokens[Role.VIEWER])
    with pytest.raises(SystemExit):
        main(["approve", run["id"], "go", "--yes"])
    assert "answers 403" in capsys.readouterr().err
    assert run["id"] in _told(capsys, "why", one)
    token.write_text(service.tokens[Role.OPERATOR])
    service.approve(run)
    service.until(run["id"], "succeeded")
    with pytest.raises(SystemExit):
        main(["approve", run["id"], "go", "--yes"])
    assert f"{run['id']} waits for nobody: it is succeeded" in capsys.readouterr().err
