"""The IAM policy: what it is narrowed to, and that each of its lines is needed, and enough."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ulid import ULID

from actions.assurance.iam_policy import READS, PolicyScope, build_policy, is_read, with_reversals
from actions.aws.errors import NOT_AUTHORIZED
from actions.aws.instances import Instance
from actions.aws.tags import OPT_IN_TAG, QUARANTINE_TAG
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution import claims, ledger
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.step_key import StepKey, StepKind
from demo.aws.clients import clients
from receiver.cli.main import main
from receiver.db.database import Database
from receiver.playbooks.loader import load
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, Case, World
from tests.executors import executor

_ROOT = Path(__file__).parents[3]
_SCOPE = PolicyScope(
    region="eu-central-1", account="123456789012", groups=["web-asg"], documents=["SmartCloudOps-A"]
)


def _granted(document: Mapping[str, Any]) -> set[str]:
    return {name for statement in document["Statement"] for name in statement["Action"]}


@pytest.mark.parametrize("name", sorted(CATALOG))
@pytest.mark.parametrize("scope", [PolicyScope(), _SCOPE], ids=["anywhere", "one account"])
def test_it_grants_what_an_action_needs_and_nothing_else(name: str, scope: PolicyScope) -> None:
    """Beside what every decision reads; each operation in one statement, a command's in two."""
    document = build_policy([name], scope)
    needed = {name for action in with_reversals([name]) for name in action.permissions}
    assert _granted(document) == needed | set(READS)
    listed = [name for statement in document["Statement"] for name in statement["Action"]]
    twice = {name for name in listed if listed.count(name) > 1}
    assert twice <= {"ssm:SendCommand"}
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(sids) == len({*sids})
    assert all(sid.isalnum() for sid in sids)


def test_no_playbook_is_granted_what_another_needs(tmp_path: Path) -> None:
    """Each shipped playbook alone."""
    for file in (_ROOT / "playbooks").glob("*.yaml"):
        folder = tmp_path / file.stem
        folder.mkdir()
        (folder / file.name).write_text(file.read_text())
        names = {name for playbook in load(folder).items for name in playbook.actions}
        needed = {name for action in with_reversals(names) for name in action.permissions}
        assert _granted(build_policy(names)) == needed | set(READS)


def test_a_change_calendar_is_read_only_where_a_playbook_names_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is one more read, and nothing else."""
    text = (_ROOT / "playbooks/high-cpu.yaml").read_text()
    file = tmp_path / "high-cpu.yaml"
    file.write_text(text)
    without = _granted(_iam_policy(capsys, str(tmp_path)))
    file.write_text(text + "window: {change_calendars: [holidays]}\n")
    granted = _granted(_iam_policy(capsys, str(tmp_path)))
    assert granted - without == {"ssm:GetCalendarState"}
    assert without <= granted


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_what_changes_something_is_held_to_one_place(name: str) -> None:
    """Every statement to the region; every change to the account, the tag or our own mark."""
    for statement in build_policy([name], _SCOPE)["Statement"]:
        condition = statement["Condition"]
        assert condition["StringEquals"]["aws:RequestedRegion"] == "eu-central-1"
        # Topics are named elsewhere; a command is no resource of IAM.
        unbound = statement["Action"] in (["sns:Publish"], ["ssm:CancelCommand"])
        if all(map(is_read, statement["Action"])) or unbound:
            continue
        resources = statement["Resource"]
        for arn in [resources] if isinstance(resources, str) else resources:
            assert arn.startswith("arn:aws:")
            assert arn.split(":")[3] == "eu-central-1"
        if statement["Sid"] in {"ChangeEc2", "ChangeAutoscaling", "SendToInstances"}:
            assert condition["StringEquals"].popitem()[1]
            assert OPT_IN_TAG in str(condition)


def test_groups_documents_and_partitions() -> None:
    """What is known is named; the tag that opts in can never be set."""
    document = build_policy(["scale_in", "run_document", "quarantine_instance"], _SCOPE)
    by_sid = {statement["Sid"]: statement for statement in document["Statement"]}
    (group,) = by_sid["ChangeAutoscaling"]["Resource"]
    assert group.startswith("arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:")
    assert group.endswith(":autoScalingGroupName/web-asg")
    assert by_sid["SendDocuments"]["Resource"] == [
        "arn:aws:ssm:eu-central-1:123456789012:document/SmartCloudOps-A"
    ]
    assert by_sid["Mark"]["Condition"]["ForAllValues:StringEquals"] == {
        "aws:TagKeys": [QUARANTINE_TAG]
    }
    china = build_policy(["scale_in"], PolicyScope(region="cn-north-1"))["Statement"][1]
    assert china["Resource"].startswith("arn:aws-cn:")


def _iam_policy(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main(["iam-policy", *arguments])
    return dict(json.loads(capsys.readouterr().out))


def test_a_hub_assumes_its_spokes_and_a_spoke_does_not_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they have what one account needs; a hub without own instances may change nothing."""
    role = "arn:aws:iam::222222222222:role/smartcloudops"
    file = tmp_path / "accounts.yaml"
    spoke = f'{{id: "222222222222", name: spoke, role_arn: {role}, regions: [eu-west-1]}}'
    file.write_text(f"accounts:\n  - {spoke}\n")
    monkeypatch.setenv("SMARTCLOUDOPS_ACCOUNTS", str(file))
    (tmp_path / "playbooks").mkdir()
    shutil.copy(_ROOT / "playbooks" / "high-cpu.yaml", tmp_path / "playbooks")
    playbooks = str(tmp_path / "playbooks")
    whole, of_spoke = _iam_policy(capsys, playbooks), _iam_policy(capsys, playbooks, "--spoke")
    assert _granted(of_spoke) == {name for name in _granted(whole) if not name.startswith("sns:")}
    file.write_text(f"accounts:\n  - {spoke[:-1]}, opt_in_tag: 'team:heal'}}\n")
    tagged = _iam_policy(capsys, playbooks, "--spoke", "--account", "2" * 12)
    conditions = [part["Condition"] for part in tagged["Statement"] if "Condition" in part]
    named = [key for part in conditions for keys in part.values() for key in keys]
    assert {key.partition("/")[2] for key in named if "/" in key} == {"team:heal"}
    with pytest.raises(SystemExit):
        main(["iam-policy", playbooks, "--spoke"])
    only_assumes = _iam_policy(capsys, playbooks, "--hub")
    (assume,) = [part for part in only_assumes["Statement"] if part["Sid"] == "AssumeRoles"]
    assert (assume["Action"], assume["Resource"]) == (["sts:AssumeRole"], [role])
    assert all(name.startswith(("sns:", "sts:")) for name in _granted(only_assumes))
    file.write_text(
        f'accounts:\n  - {spoke}\n  - {{id: "111111111111", name: hub, regions: [eu-west-1]}}\n'
    )
    own = _iam_policy(capsys, playbooks, "--hub")
    assert _granted(own) == {*_granted(whole), "sts:AssumeRole"}


def test_the_command_narrows_to_what_the_playbooks_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups by their matchers, documents by their steps; a group that cannot be is refused."""
    text = (_ROOT / "playbooks" / "idle-capacity.yaml").read_text()
    (tmp_path / "idle-capacity.yaml").write_text(
        text.replace("match:\n", 'match:\n  - asg="web-asg"\n', 1)
    )
    (_, changes) = _iam_policy(capsys, str(tmp_path))["Statement"]
    assert [arn.rpartition("/")[2] for arn in changes["Resource"]] == ["web-asg"]
    shipped = _iam_policy(capsys, str(_ROOT / "playbooks"))["Statement"]
    documents = next(
        statement["Resource"] for statement in shipped if statement["Sid"] == "SendDocuments"
    )
    assert {arn.rpartition("/")[2] for arn in documents} == {
        "SmartCloudOps-Capture",
        "SmartCloudOps-CleanDisk",
        "SmartCloudOps-RestartService",
    }
    for wrong in (["--region", "mars"], ["--account", "1"], ["--group", "*"]):
        with pytest.raises(SystemExit) as ended:
            main(["iam-policy", str(_ROOT / "playbooks"), *wrong])
        assert ended.value.code == 2


@pytest.fixture(scope="module")
def world() -> World:
    return World()


# What asks nothing of AWS needs no line of the policy.
_ELSEWHERE = {"create_silence", "expire_silence", "notify"}


def test_each_action_is_tried_under_iam() -> None:
    """But for those that AWS has no part in."""
    assert {case.action for case in CASES} | _ELSEWHERE | {"capture"} == set(CATALOG)
    assert not any(CATALOG[name].permissions for name in _ELSEWHERE)


def _performed(case: Case, world: World, state: Database) -> Intent:
    acting = executor(
        clients(world.emulator, key="acting"), state.write, world.clock, world.messenger
    )
    world.settle()
    target = GROUP if case.of_group else world.in_service()[0]
    case.before(world, target)
    step = Step(
        run_id=str(ULID()),
        key=StepKey(StepKind.LADDER, 0),
        action=CATALOG[case.action],
        target=target,
        params=case.params(world),
        playbook="test",
        group="" if case.of_group else GROUP,
        cooldown_s=0,
        bounds=Bounds(percent=100, min_healthy=0),
        # Tried more often than a target may be acted on.
        counts=False,
    )
    try:
        intent = acting.execute(step)
    finally:
        with state.write() as connection:
            claims.release(connection, step.run_id)
        case.after(world, target)
    assert isinstance(intent, Intent), intent
    return intent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
def test_iam_lets_it_with_the_policy_and_not_without_a_line_of_it(
    case: Case, world: World, state: Database
) -> None:
    """Each operation that changes something is needed; with all of them it is intent."""
    whole, action = build_policy([case.action]), CATALOG[case.action]
    acts = [name for name in action.permissions if not is_read(name)]
    for missing in [name for name in acts if name != action.cancelled_with]:
        statements = [
            {**statement, "Action": [name for name in statement["Action"] if name != missing]}
            for statement in whole["Statement"]
        ]
        allowed = [statement for statement in statements if statement["Action"]]
        world.emulator.policies["acting"] = {**whole, "Statement": allowed}
        intent = _performed(case, world, state)
        assert intent.outcome is not Outcome.CHANGED, missing
        assert intent.error in NOT_AUTHORIZED, (missing, intent)
    world.emulator.policies["acting"] = whole
    intent = _performed(case, world, state)
    assert intent.outcome is Outcome.CHANGED, intent
    with state.read() as connection:
        assert ledger.read_intent(connection, intent.run_id, intent.step) == intent


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_a_policy_is_of_its_regions_partition(region: str, partition: str) -> None:
    """In another partition none of its ARNs would fit, and the role could do nothing."""
    scope = PolicyScope(region=region, account="123456789012")
    policy = build_policy(["reboot_instance", "restart_service"], scope)
    resources = [statement["Resource"] for statement in policy["Statement"]]
    arns = [arn for each in resources for arn in ([each] if isinstance(each, str) else each)]
    assert [arn for arn in arns if arn != "*" and not arn.startswith(f"arn:{partition}:")] == []
    assert len(arns) > arns.count("*")
    zone = Instance(id="i-1", state="running", launched_at=0, group=None, az=f"{region}a", tags={})
    assert zone.labels["region"] == region
