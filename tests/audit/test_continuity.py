"""Records that lack what the archive or CloudTrail has pause the service until an admin accepts."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from actions.audit import export, log, signed_heads
from actions.audit.archive import FolderArchive
from actions.audit.chain import Checkpoint
from actions.execution import kill_switch
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError
from receiver.audit import head_signer
from receiver.audit.cloudtrail_check import CloudTrailCheck
from receiver.audit.continuity import Continuity
from receiver.audit.head_signer import HeadSigner
from receiver.audit.metrics import HeadMetrics, ReconcileMetrics
from receiver.cli.errors import FailedError
from receiver.cli.main import main
from receiver.db.database import Database, database
from receiver.http.access.callers import Role
from receiver.settings import Settings
from tests.actions.audit.audit_fixtures import fill, unguarded
from tests.api_fixtures import live
from tests.audit.test_head_signer import write_key
from tests.conftest import Clock


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_key(tmp_path / "key.pem")
    return Settings(audit_key_file=tmp_path / "key.pem", audit_archive=str(tmp_path / "archive"))


@pytest.fixture
def aws(clock: Clock) -> Emulator:
    return Emulator(Core(clock))


@pytest.fixture
def continuity(state: Database, settings: Settings, aws: Emulator, clock: Clock) -> Continuity:
    return Continuity(settings=settings, database=state, clients=lambda: clients(aws), clock=clock)


def _signer(continuity: Continuity) -> HeadSigner:
    return HeadSigner(
        settings=continuity.settings,
        database=continuity.database,
        clients=continuity.clients,
        metrics=HeadMetrics(CollectorRegistry()),
        clock=continuity.clock,
    )


def _sign_longer_chain(continuity: Continuity, folder: Path) -> None:
    """Sign and export a chain of 9 records, as before the loss of all but the first ones."""
    longer = database(f"sqlite:///{folder}/longer.db")
    longer.migrate("state")
    fill(longer, 9)
    _signer(replace(continuity, database=longer)).run_once()
    archive = head_signer.open_archive(continuity.settings, continuity.clients)
    export.export(longer.read, archive, 0.0)
    longer.engine.dispose()


def _switch(state: Database) -> kill_switch.Switch:
    with state.read() as connection:
        switch = kill_switch.read_switch(connection)
    assert switch is not None
    return switch


@pytest.mark.parametrize("known_by", ["signed head", "exported record"])
def test_a_restored_backup_pauses_everything(
    continuity: Continuity, state: Database, tmp_path: Path, known_by: str
) -> None:
    """By the newest signed head; without a key, by the newest exported record."""
    _sign_longer_chain(continuity, tmp_path)
    if known_by == "exported record":
        unsigned = continuity.settings.model_copy(update={"audit_key_file": None})
        continuity = replace(continuity, settings=unsigned)
    else:
        for file in (tmp_path / "archive" / "records").iterdir():
            file.unlink()
    fill(state, 4)
    continuity.check()
    switch = _switch(state)
    assert (switch.paused, switch.everything, switch.distrusted) == (True, True, True)
    assert switch.comment.startswith(f"the records lack the {known_by} 9")
    assert continuity.why_distrusted() == switch.comment


def test_a_chain_that_contains_the_newest_head_is_trusted(
    continuity: Continuity, state: Database, tmp_path: Path
) -> None:
    _sign_longer_chain(continuity, tmp_path)
    fill(state, 9)
    fill(state, 3)
    started: list[str] = []
    continuity.start(lambda: started.append("at once"))
    assert (started, _switch(state).paused, continuity.why_distrusted()) == (
        ["at once"],
        False,
        None,
    )


def test_heads_of_another_key_are_no_proof(
    continuity: Continuity, state: Database, tmp_path: Path
) -> None:
    """Otherwise a hundred new heads would hide the head that the chain lacks."""
    fill(state, 4)
    _signer(continuity).run_once()
    write_key(tmp_path / "key.pem")
    continuity.check()
    assert "lack a head signed with" in _switch(state).comment


def test_an_archive_that_cannot_be_read_lets_nothing_act(
    continuity: Continuity, state: Database, tmp_path: Path
) -> None:
    """It is unknown whether the records are complete; once it is known, the service acts."""
    fill(state, 4)
    key = (tmp_path / "key.pem").read_bytes()
    (tmp_path / "key.pem").write_text("no key")
    started: list[str] = []
    continuity.start(lambda: started.append("acts"))
    assert started == []
    assert "key.pem" in (continuity.why_distrusted() or "")
    # Its thread, which checks at once, must not check while the test does.
    continuity.stop()
    (tmp_path / "key.pem").write_bytes(key)
    continuity.run_once()
    assert started == ["acts"]
    assert not _switch(state).paused


def test_accepted_records_are_signed_and_exported_from_then_on(
    continuity: Continuity, state: Database, tmp_path: Path
) -> None:
    """Apart from what they lack, which stays; the next start trusts them."""
    _sign_longer_chain(continuity, tmp_path)
    fill(state, 4)
    signer = _signer(continuity)
    continuity.check()
    switch = continuity.resume(by="root", comment="a disk broke")
    assert (switch.paused, switch.distrusted, switch.comment) == (False, False, "a disk broke")
    signer.run_once()
    assert signer.verify().anchored == signer.verify().records
    archive = head_signer.open_archive(continuity.settings, continuity.clients)
    exported = export.export(state.read, archive, 0.0)
    assert exported.records == exported.last.seq
    again = replace(continuity)
    again.check()
    assert again.why_distrusted() is None
    old = FolderArchive(tmp_path / "archive")
    assert signed_heads.list_numbers(old) == [9]
    assert export.last_exported(old).seq == 9
    with state.read() as connection:
        events = [record["event"] for record in log.records(connection, limit=3)]
    assert events == ["resumed", "audit_accepted", "paused"]


def test_an_acceptance_needs_the_key(
    continuity: Continuity, state: Database, tmp_path: Path
) -> None:
    """Whoever can write to the archive alone makes no lost head disappear."""
    _sign_longer_chain(continuity, tmp_path)
    fill(state, 4)
    forged = tmp_path / "archive" / "accepted" / "heads"
    forged.mkdir(parents=True)
    (forged / "000000000001.json").write_text("{}")
    with pytest.raises(signed_heads.UnsignedError):
        _signer(continuity).verify()
    continuity.check()
    assert "lack an acceptance signed with" in _switch(state).comment


def _call(clock: Clock, run_id: str) -> dict[str, Any]:
    detail = {
        "eventName": "RebootInstances",
        "eventTime": datetime.fromtimestamp(clock(), UTC).isoformat(),
        "userAgent": f"Boto3 smartcloudops-run/{run_id}",
        "userIdentity": {"arn": "arn:aws:iam::1:role/receiver"},
        "requestParameters": {"instanceId": "i-1"},
    }
    return {"EventName": "RebootInstances", "CloudTrailEvent": json.dumps(detail)}


@pytest.mark.parametrize("asked", [True, False], ids=["configured", "not configured"])
def test_a_run_that_only_cloudtrail_has_pauses_everything(
    continuity: Continuity, state: Database, aws: Emulator, clock: Clock, *, asked: bool
) -> None:
    """Of the time since the last record."""
    continuity.settings = continuity.settings.model_copy(
        update={"reconcile_interval_s": 600 if asked else None}
    )
    fill(state, 4, at=clock() - 3_600)
    aws.events["false"] = [_call(clock, "A" * 26)]
    continuity.note_last_record()
    continuity.check()
    assert _switch(state).paused is asked
    assert not asked or f"RebootInstances of run {'A' * 26}" in _switch(state).comment


def test_a_cloudtrail_without_an_answer_lets_nothing_act(
    continuity: Continuity, aws: Emulator
) -> None:
    continuity.settings = continuity.settings.model_copy(update={"reconcile_interval_s": 600})

    def trouble(*_: str) -> None:
        raise AwsError("InternalError", status=500)

    aws.trouble = trouble
    continuity.check()
    assert continuity.why_distrusted() == "AWS did not answer: ClientError"


def test_a_finding_of_reconcile_pauses_until_it_is_accepted(
    continuity: Continuity, state: Database, aws: Emulator, clock: Clock
) -> None:
    """What was begun is verified and rolled back all the same; a later finding pauses again."""
    check = CloudTrailCheck(
        interval_s=600,
        database=state,
        aws_at=lambda _: clients(aws),
        metrics=ReconcileMetrics(CollectorRegistry()),
        clock=clock,
    )
    aws.events["false"] = [_call(clock, "A" * 26)]
    clock.now += 60
    check.run_once()
    switch = _switch(state)
    assert (switch.paused, switch.everything, switch.distrusted) == (True, False, True)
    assert "call without entry, RebootInstances" in switch.comment
    continuity.check()
    continuity.resume(by="root", comment="it was I")
    check.run_once()
    assert not _switch(state).paused
    clock.now += 60
    aws.events["false"] += [_call(clock, "B" * 26)]
    check.run_once()
    assert _switch(state).paused


def test_a_chain_replaced_while_it_runs_pauses_everything(
    continuity: Continuity, state: Database, tmp_path: Path
) -> None:
    signer = _signer(continuity)
    fill(state, 2)
    _sign_longer_chain(continuity, tmp_path)
    signer.run_once()
    assert _switch(state).distrusted


def test_a_service_on_restored_records_is_unready_until_an_admin_resumes(
    tmp_path: Path, settings: Settings
) -> None:
    """An operator cannot resume, and may pause; nothing acts meanwhile."""
    archive = FolderArchive(tmp_path / "archive")
    key = signed_heads.load_private_key(tmp_path / "key.pem")
    signed_heads.sign(archive, key, Checkpoint(700, "a" * 64), 0.0)
    sent: dict[str, Any] = {
        "audit_key_file": settings.audit_key_file,
        "audit_archive": settings.audit_archive,
    }
    with live(tmp_path, **sent) as service:
        ready = service.call("GET", "/readyz")
        assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert ready.json()["checks"]["records"].startswith("the records lack the signed head 700")
        body = {"comment": "a disk broke"}
        refused = service.call("POST", "/api/v1/resume", Role.OPERATOR, json=body)
        assert refused.status_code == HTTPStatus.FORBIDDEN
        assert "signed head 700" in refused.json()["detail"]
        paused = service.call("POST", "/api/v1/pause", Role.OPERATOR, json=body).json()
        assert (paused["distrusted"], paused["everything"]) == (True, True)
        assert "signed head 700" in paused["comment"]
        resumed = service.call("POST", "/api/v1/resume", Role.ADMIN, json=body).json()
        assert (resumed["paused"], resumed["distrusted"]) == (False, False)
        assert service.call("GET", "/readyz").json()["ready"] is True


@pytest.fixture
def command_line(
    state: Database, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    del state
    monkeypatch.setenv("SMARTCLOUDOPS_DATABASE_URL", f"sqlite:///{tmp_path}/state.db")
    monkeypatch.setenv("SMARTCLOUDOPS_AUDIT_KEY_FILE", str(settings.audit_key_file))
    monkeypatch.setenv("SMARTCLOUDOPS_AUDIT_ARCHIVE", settings.audit_archive)
    return lambda *arguments: main(["audit", *arguments])


def test_what_audit_verify_finds_reaches_the_guards(
    continuity: Continuity,
    state: Database,
    command_line: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Until `audit accept`; on trusted records that does nothing."""
    fill(state, 4)
    _signer(continuity).run_once()
    command_line("verify")
    command_line("accept", "--comment", "why")
    assert "nothing to accept" in capsys.readouterr().out
    unguarded(state)
    with state.write() as connection:
        connection.execute(text("UPDATE audit SET actor = 'mallory' WHERE seq = 3"))
    with pytest.raises((SystemExit, FailedError)):
        command_line("verify")
    assert _switch(state).comment == "audit record 3 is altered"
    command_line("accept", "--comment", "a test")
    assert "the pause was for: audit record 3 is altered" in capsys.readouterr().out
    assert not _switch(state).paused
