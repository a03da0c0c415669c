"""Records of an action that a later release lacks: nothing raises, and it counts as disruptive."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from actions.assurance.reconcile import reconcile
from actions.execution import ledger
from receiver.audit.tail import Record
from receiver.notify.messages import MessageKind, make_message
from receiver.reports.figures import availability
from receiver.reports.report import ReportInput, make_report
from receiver.runs import views
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole

_ROOT = Path(__file__).parents[2]
# They read names that a playbook has just been checked for, or list the catalogue.
_OF_PLAYBOOKS = {
    "actions/catalog/registry.py",
    "actions/assurance/iam_policy.py",
    "receiver/cli/reference/generate.py",
    "receiver/playbooks/loader.py",
    "receiver/playbooks/rule_check.py",
    "receiver/playbooks/schema.py",
}


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()


def _retire(whole: Whole) -> None:
    """As after an upgrade to a release without `reboot_instance`."""
    with whole.state.write() as connection:
        connection.execute(text("update intents set action = 'power_cycle'"))
        for column in ("plan", "gates"):
            connection.execute(
                text(
                    f"update runs set {column} ="  # noqa: S608 the names stand above
                    f" replace({column}, 'reboot_instance', 'power_cycle')"
                )
            )


def test_a_run_under_way_ends_and_a_person_is_called(whole: Whole) -> None:
    """It is neither called again nor rolled back in silence, and nothing heavier follows."""
    target = whole.group()[0]
    whole.recovered = "0"
    whole.deliver(target)
    whole.work()
    _retire(whole)
    whole.start()
    whole.pass_time(600)
    run = whole.only()
    assert run.state is State.FAILED
    assert "power_cycle was not rolled back" in (run.outcome or "")
    assert "unknown whether power_cycle" in (run.outcome or "")
    assert [call.operation for call in whole.aws.calls] == ["RebootInstances"]


def test_a_step_that_was_decided_on_is_not_performed(whole: Whole) -> None:
    """The upgrade came between the decision and the call."""
    target = whole.group()[0]
    whole.deliver(target)
    whole.dispatcher.dispatch()
    _retire(whole)
    whole.start()
    whole.pass_time(120)
    assert "RebootInstances" not in [call.operation for call in whole.aws.calls]


def test_all_readers_of_history_take_it(whole: Whole) -> None:
    """The decision, the API's view, the report, reconciliation and notifications."""
    target = whole.group()[0]
    whole.deliver(target)
    whole.pass_time(60)
    _retire(whole)
    run = whole.only()

    whole.deliver(target, cpu="1", began_s=5)
    whole.work()
    newer = next(other for other in whole.runs() if other.id != run.id)
    assert newer.refusal == "self_inflicted"
    assert "power_cycle" in (newer.outcome or "")

    with whole.state.read() as connection:
        steps = ledger.intents_by_run(connection, [run.id])[run.id]
        figures = make_report(
            connection,
            ReportInput(since=0, until=whole.now + 1, availability=availability(None, 1)),
        )
    assert views.run_view(run, steps)["steps"][0]["action"] == "power_cycle"
    assert [row["action"] for row in figures["actions"]] == ["power_cycle"]
    assert figures["figures"]["interventions_avoided"]["value"] == 1

    reconciliation = reconcile(steps, [], since=0, until=whole.now + 9_999, late=False)
    # The step, and the command that captured evidence before it.
    assert (reconciliation.entries, reconciliation.findings) == (2, [])

    detail = {"action": "power_cycle", "outcome": "changed", "target": target}
    record = Record(
        seq=1, at=0, actor="smartcloudops", event="step_observed", run_id=run.id, detail=detail
    )
    message = make_message(record, run, None)
    assert message is not None
    assert message.kind is MessageKind.ACTED


def test_only_what_reads_playbooks_looks_actions_up_by_index() -> None:
    """A record's action is found by `find_action`, which knows what to do without one."""
    modules = [path for room in ("actions", "receiver") for path in (_ROOT / room).rglob("*.py")]
    assert {
        path.relative_to(_ROOT).as_posix()
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "CATALOG"
    } <= _OF_PLAYBOOKS
