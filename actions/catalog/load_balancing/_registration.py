"""Base of registering an instance in target groups and deregistering it.

"If you specified a port override when you registered a target, you must specify both the target ID
and the port when you deregister it." Deregistering what is not there succeeds, and does nothing.
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.aws.client_set import Aws
from actions.aws.groups import Group
from actions.aws.target_errors import NotActionableError
from actions.aws.target_health import Target, read_targets
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Outcome,
    Params,
    Progress,
    TargetKind,
    Undo,
)

TargetGroupArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/[\w-]+/\w+$"
    ),
]
# AWS shows the end of a delay a little later.
ENDS_WITHIN_S = 60.0
# (id, port) of each target by target group; the port is None for the one of the target group.
Registrations = Mapping[str, Sequence[tuple[str, int | None]]]


class RegisteredTarget(Params):
    """One target: the instance's id or one of its addresses, and the port on which it serves."""

    target_group: TargetGroupArn
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:i-]{3,45}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None


class RegistrationParams(Params):
    """Target groups of the instance's Auto Scaling group; by default all of them.

    `targets` names single targets instead, as a rollback does.
    """

    target_groups: Annotated[list[TargetGroupArn], Field(max_length=20)] = Field(
        default_factory=list
    )
    targets: Annotated[list[RegisteredTarget], Field(max_length=100)] = Field(default_factory=list)


def target_groups_of(group: Group) -> list[str]:
    """The group's target groups. Raises NotActionableError where it has other balancers, too."""
    if group.other_balancers:
        raise NotActionableError(
            f"{group.name} gets traffic also from {', '.join(group.other_balancers)}, which is no "
            "target group: use enter_standby and exit_standby, or name `target_groups`"
        )
    return list(group.target_groups)


def targets_of(aws: Aws, instance_id: str, arn: str) -> tuple[list[Target], list[Target]]:
    """The registered targets of a target group: those of the instance, and the other ones.

    Raises NotActionableError where a target may be the instance's, and AWS does not say so.
    """
    targets = [target for target in read_targets(aws, arn) if target.registered]
    own = [target for target in targets if target.instance == instance_id]
    if not own and any(not target.instance for target in targets):
        raise NotActionableError(
            f"{arn} has targets that no known instance stands behind: "
            f"whether {instance_id} is one of them is unknown"
        )
    return own, [target for target in targets if target not in own]


def named(call: Call) -> Registrations:
    """The targets of the step's parameters."""
    targets: dict[str, list[tuple[str, int | None]]] = {}
    for target in call.params.get("targets") or ():
        targets.setdefault(target["target_group"], []).append((target["id"], target["port"]))
    return targets


def planned(call: Call) -> Registrations:
    """What the step changes; records of earlier versions name no ports."""
    if "targets" in call.before:
        return {
            arn: [(target_id, port) for target_id, port in targets]
            for arn, targets in call.before["targets"].items()
        }
    return {arn: [(call.target, None)] for arn in call.before["target_groups"]}


def to_arguments(arn: str, targets: Sequence[tuple[str, int | None]]) -> dict[str, Any]:
    """The arguments of the call to AWS about these targets of one target group."""
    described = [
        {"Id": target_id} if port is None else {"Id": target_id, "Port": port}
        for target_id, port in targets
    ]
    return {"TargetGroupArn": arn, "Targets": described}


class ChangesRegistration(Action):
    """Registers the instance's targets, or else deregisters them."""

    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    idempotent = True
    params = RegistrationParams
    registers: ClassVar[bool]

    def read_back(self, call: Call) -> CallResult:
        changed = self._changed(call)
        if all(changed):
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.UNKNOWN if any(changed) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        """Registered targets must serve, where a listener forwards to them; others be gone."""
        finished = all(
            target is not None and (target.serves or not target.used)
            if self.registers
            else target is None or (target.state == "unused" and not target.registered)
            for target in self._found(call)
        )
        return Progress.DONE if finished else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        targets = [
            {"target_group": arn, "id": target_id, "port": port}
            for arn, changed in planned(call).items()
            for target_id, port in changed
        ]
        return Undo(self.undone_by, {"targets": targets}) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        """Whether any target is as the call left it; a person may have changed others."""
        return any(self._changed(call))

    def _changed(self, call: Call) -> list[bool]:
        """For each of the step's targets, whether it is as the call leaves it."""
        return [
            (target is not None and target.registered) is self.registers
            for target in self._found(call)
        ]

    @staticmethod
    def _found(call: Call) -> list[Target | None]:
        """The step's targets as AWS describes them; None for one that is not there."""
        found: list[Target | None] = []
        for arn, wanted in planned(call).items():
            described = read_targets(call.aws, arn)
            for target_id, port in wanted:
                same = (
                    target
                    for target in described
                    if target.id == target_id and port in {None, target.port}
                )
                found.append(next(same, None))
        return found
