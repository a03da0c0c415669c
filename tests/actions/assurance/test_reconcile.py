"""The ledger against what AWS saw, after real steps on the emulated AWS."""

import gzip
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from ulid import ULID

from actions.assurance import cloudtrail, reconcile
from actions.assurance.reconcile import FindingKind, Reconciliation
from actions.aws.client_set import on_behalf_of
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution import claims, ledger
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.step_key import StepKey, StepKind
from receiver.audit.cloudtrail_check import CloudTrailCheck
from receiver.audit.metrics import ReconcileMetrics
from receiver.cli.main import main
from receiver.db.database import Database, database
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, World
from tests.executors import executor

# With the member that each acts on; a group's is the group. The one that boots serves nobody yet:
# the last one that serves in its zone must not be taken out.
_STEPS = {
    "reboot_instance": 0,
    "set_desired_capacity": 0,
    "suspend_processes": 0,
    "resume_processes": 0,
    "restart_service": 1,
    "deregister_target": 2,
    "register_target": 2,
    "quarantine_instance": 4,
}
_ROLE = "arn:aws:iam::123456789012:role/smartcloudops"


@pytest.fixture(scope="module")
def world() -> World:
    """An emulated AWS on which nobody but the executor changes anything but at the start."""
    world = World()
    # The command line, which reads the log, knows no other clock.
    world.emulator.core.clock = time.time
    return world


@pytest.fixture(scope="module")
def acted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Records of a step of each kind, every one a run of its own."""
    state = database(f"sqlite:///{tmp_path_factory.mktemp('acted')}/state.db")
    state.migrate("state")
    acting = executor(world.aws, state.write, time.time, world.messenger)
    world.settle()
    cases = {case.action: case for case in CASES}
    members = world.in_service()
    for name, member in _STEPS.items():
        case = cases[name]
        step = Step(
            run_id=str(ULID()),
            key=StepKey(StepKind.LADDER, 0),
            action=CATALOG[name],
            target=GROUP if case.of_group else members[member],
            params=case.params(world),
            playbook="test",
            group="" if case.of_group else GROUP,
            cooldown_s=0,
            bounds=Bounds(percent=100, min_healthy=0),
        )
        intent = acting.execute(step)
        assert isinstance(intent, Intent), intent
        assert intent.outcome is Outcome.CHANGED, intent
        with state.write() as connection:
            claims.release(connection, step.run_id)
    yield state
    state.engine.dispose()


def _log(world: World, acted: Database) -> list[dict[str, Any]]:
    """What the runs called; what the fixture itself did to get there is left out."""
    with acted.read() as connection:
        runs = {intent.run_id for intent in ledger.sent_since(connection, 0.0)}
    lines = world.emulator.log_lines().splitlines()
    return [call for call in map(json.loads, lines) if call["session"] in runs]


def _reconcile(acted: Database, file: Path, **more: Any) -> Reconciliation:
    with acted.read() as connection:
        entries = ledger.sent_since(connection, 0.0)
    calls = list(cloudtrail.read_file(file))
    late = any(call.late for call in calls)
    options = {"since": 0.0, "until": time.time(), "late": late} | more
    roles = options.pop("roles", ())
    return reconcile.reconcile(entries, reconcile.select_own(calls, roles), **options)


def _write(folder: Path, calls: list[dict[str, Any]]) -> Path:
    file = folder / "calls.jsonl"
    file.write_text("".join(json.dumps(call) + "\n" for call in calls))
    return file


def test_what_was_done_is_what_was_seen(world: World, acted: Database, tmp_path: Path) -> None:
    """Every kind of step, and no finding."""
    result = _reconcile(acted, _write(tmp_path, _log(world, acted)))
    assert (result.entries, result.findings, result.pending) == (len(_STEPS), [], 0)
    assert result.calls >= len(_STEPS)


@pytest.mark.parametrize("session", ["", "own", "01KAR0SZ1PCQSD8SGKXR6D7C9P"])
def test_a_call_that_nobody_decided_on_is_found(
    world: World, acted: Database, tmp_path: Path, session: str
) -> None:
    """Without a run, under a run that does not exist, and under one that did something else."""
    calls = _log(world, acted)
    own = calls[0]["session"]
    rogue = {
        "time": calls[0]["time"] + 1,
        "service": "ec2",
        "operation": "StopInstances",
        "parameters": {"InstanceIds": [world.in_service()[0]]},
        "session": own if session == "own" else session,
        "status": 200,
    }
    result = _reconcile(acted, _write(tmp_path, [*calls, rogue]))
    (finding,) = result.findings
    assert (finding.kind, finding.what, finding.run_id) == (
        FindingKind.CALL_WITHOUT_ENTRY,
        "StopInstances",
        rogue["session"],
    )


@pytest.mark.parametrize("action", _STEPS)
def test_a_step_that_no_call_shows_is_found(
    world: World, acted: Database, tmp_path: Path, action: str
) -> None:
    """Its record says that something was changed, and AWS knows nothing of it."""
    with acted.read() as connection:
        entry = next(
            intent for intent in ledger.sent_since(connection, 0.0) if intent.action == action
        )
    calls = [call for call in _log(world, acted) if call["session"] != entry.run_id]
    result = _reconcile(acted, _write(tmp_path, calls))
    (finding,) = result.findings
    assert (finding.kind, finding.what, finding.run_id) == (
        FindingKind.ENTRY_WITHOUT_CALL,
        action,
        entry.run_id,
    )


def test_a_capture_without_a_command_needs_no_call(acted: Database) -> None:
    """Where the agent is offline AWS alone is read; a command that it names must be there."""
    with acted.read() as connection:
        entry = next(iter(ledger.sent_since(connection, 0.0)))
    found = {}
    for made in ({"missing": {"host": "the agent is offline"}}, {"command_id": "c"}):
        captured = replace(entry, action="capture", made=made)
        result = reconcile.reconcile([captured], [], since=0.0, until=time.time(), late=False)
        found["command_id" in made] = [finding.kind for finding in result.findings]
    assert found == {False: [], True: [FindingKind.ENTRY_WITHOUT_CALL]}


def test_what_was_sent_after_the_log_was_written_is_not_missing(
    world: World, acted: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be in it; from the command line the file's own time tells."""
    calls = _log(world, acted)
    with acted.read() as connection:
        last = max(ledger.sent_since(connection, 0.0), key=lambda intent: intent.ended_at or 0.0)
    file = _write(tmp_path, [call for call in calls if call["session"] != last.run_id])
    written = (last.dispatched_at or 0.0) - 1
    result = _reconcile(acted, file, until=written)
    assert (result.findings, result.pending) == ([], 1)
    os.utime(file, (written, written))
    monkeypatch.setenv("SMARTCLOUDOPS_DATABASE_URL", str(acted.engine.url))
    main(["audit", "reconcile", "--events", str(file)])


def test_a_reboot_that_came_twice_is_found(world: World, acted: Database, tmp_path: Path) -> None:
    """One entry speaks for one call of what must not be repeated."""
    calls = _log(world, acted)
    (reboot,) = [call for call in calls if call["operation"] == "RebootInstances"]
    result = _reconcile(acted, _write(tmp_path, [*calls, reboot | {"time": reboot["time"] + 5}]))
    assert [finding.kind for finding in result.findings] == [FindingKind.REPEATED_CALL]


def _trail(calls: list[dict[str, Any]], who: str = _ROLE) -> list[dict[str, Any]]:
    """The same calls as CloudTrail's files have them."""
    return [
        {
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(call["time"])),
            "eventName": call["operation"],
            "userAgent": f"[Boto3/1.40 smartcloudops-run/{call['session']}]",
            "userIdentity": {
                "type": "AssumedRole",
                "sessionContext": {"sessionIssuer": {"arn": who}},
            },
            "requestParameters": call["parameters"],
        }
        for call in calls
    ]


def test_cloudtrails_files_are_read_and_its_delay_is_respected(
    world: World, acted: Database, tmp_path: Path
) -> None:
    """What is young may not be there yet; an hour later it is missing."""
    file = tmp_path / "trail.json.gz"
    calls = _log(world, acted)
    (reboot,) = [call for call in calls if call["operation"] == "RebootInstances"]
    records = _trail([call for call in calls if call is not reboot])
    file.write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    assert (_reconcile(acted, file).findings, _reconcile(acted, file).pending) == ([], 1)
    later = _reconcile(acted, file, until=time.time() + 3600)
    assert [(finding.kind, finding.what) for finding in later.findings] == [
        (FindingKind.ENTRY_WITHOUT_CALL, "reboot_instance")
    ]


def test_others_may_do_what_they_like(world: World, acted: Database, tmp_path: Path) -> None:
    """Only the service's own role must keep to the ledger, whether its calls name a run or not."""
    own, other = _trail(_log(world, acted)), "arn:aws:iam::123456789012:role/people"
    stray = {**own[0], "eventName": "RebootInstances", "userAgent": "aws-cli"}
    theirs = {
        **stray,
        "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": other}}},
    }
    file = tmp_path / "trail.json"
    file.write_text(json.dumps({"Records": [*own, theirs]}))
    assert _reconcile(acted, file).findings == []
    assert len(_reconcile(acted, file, roles=[other]).findings) == 1
    file.write_text(json.dumps({"Records": [*own, stray]}))
    (finding,) = _reconcile(acted, file).findings
    assert (finding.who, finding.what) == (_ROLE, "RebootInstances")


def test_cloudtrail_is_asked_page_by_page(world: World, acted: Database) -> None:
    """Live, as the service's own role would: all that changed something, ours known by its run."""
    waits: list[float] = []
    calls = list(cloudtrail.look_up_calls(world.aws, 0.0, time.time() + 60, waits.append))
    runs = {call["session"] for call in _log(world, acted)}
    assert runs <= {call.run_id for call in calls}
    assert not any(call.operation.startswith("Describe") for call in calls)
    assert len(calls) <= 50 or waits


def test_from_the_command_line(
    world: World,
    acted: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 0 and 1, as text and as JSON; a file that is none is bad input."""
    monkeypatch.setenv("SMARTCLOUDOPS_DATABASE_URL", str(acted.engine.url))
    calls = _log(world, acted)
    file = _write(tmp_path, calls)
    main(["audit", "reconcile", "--events", str(file)])
    assert "0 findings" in capsys.readouterr().out
    _write(tmp_path, [*calls, calls[-1] | {"session": "rogue", "operation": "RebootInstances"}])
    with pytest.raises(SystemExit) as ended:
        main(["audit", "reconcile", "--since", "1h", "--events", str(file), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert [finding["kind"] for finding in report["findings"]] == ["call_without_entry"]
    file.write_text("{nothing")
    with pytest.raises(SystemExit) as ended:
        main(["audit", "reconcile", "--events", str(file)])
    assert ended.value.code == 2
    assert "calls.jsonl:1" in capsys.readouterr().err


def test_the_service_says_in_metrics_what_it_found(world: World, acted: Database) -> None:
    """Nothing of its own; a call that only names a run of its own as soon as there is one."""
    registry = CollectorRegistry()
    check = CloudTrailCheck(
        interval_s=3600,
        database=acted,
        aws_at=lambda _: world.aws,
        metrics=ReconcileMetrics(registry),
        clock=time.time,
    )
    before = _count(registry, "smartcloudops_reconcile_findings", FindingKind.CALL_WITHOUT_ENTRY)
    with on_behalf_of("01KAR0SZ1PCQSD8SGKXR6D7C9P"):
        world.aws.ec2.stop_instances(InstanceIds=[world.in_service()[-1]])
    check.run_once()
    counts = [
        (kind, _count(registry, "smartcloudops_reconcile_findings", kind)) for kind in FindingKind
    ]
    assert before == 0
    assert dict(counts)[FindingKind.CALL_WITHOUT_ENTRY] >= 1
    assert dict(counts)[FindingKind.ENTRY_WITHOUT_CALL] == 0
    assert registry.get_sample_value("smartcloudops_reconciled_timestamp_seconds")


def _count(registry: CollectorRegistry, name: str, kind: FindingKind) -> float:
    value = registry.get_sample_value(name, {"kind": kind})
    assert value is not None
    return value
