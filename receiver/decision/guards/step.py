"""Guards on the chosen step: its target is free, unchanged by others, and can be spared."""

from collections.abc import Iterator

from actions.base import Impact, TargetKind
from actions.catalog.registry import find_action
from actions.execution import rules
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.guards.recent_acts import why_not_claimable, why_over_rate
from receiver.decision.ladder import changes_something, choose, chosen_plan
from receiver.decision.model import Snapshot
from receiver.playbooks.placeholders import names_in

# A group in which both are suspended is kept as it is; Auto Scaling itself may suspend Launch.
_FREEZING = frozenset({"Launch", "Terminate"})
# With one of these suspended, no Unhealthy member is replaced.
_REPLACING = frozenset({"ReplaceUnhealthy", "Terminate"})


def require_step(inputs: GuardInput) -> str | Refusal:
    plan, asg = choose(inputs), inputs.snapshot.asg
    if isinstance(plan, Refusal):
        return plan
    detail = f"{plan.step.action} on {plan.target}"
    if asg is None or "healthy_version" not in names_in(plan.step.params):
        return detail
    return (
        f"{detail}, to {plan.healthy_version}; whoever set {asg.version}, such as Terraform, "
        "will set it again at the next apply"
    )


def require_group(inputs: GuardInput) -> str | Refusal:
    """A step may take out an instance without a group only if the playbook is `standalone`.

    ## no_group

    The step takes an instance out of service, and the instance is in no Auto Scaling group.
    **To lift it:** put the instance into a group. If the playbook is meant for single instances,
    set `standalone: true` in it; then `SMARTCLOUDOPS_STANDALONE_BUDGET` limits how many of them
    are out of service at once.
    """
    plan = chosen_plan(inputs)
    actions = (plan.step.action, *(before.action for before in plan.step.before))
    if inputs.snapshot.group is not None:
        return f"in the group {inputs.snapshot.group}"
    if plan.playbook.standalone:
        return f"{plan.playbook.name} allows instances outside groups"
    if not any(find_action(name).removes_capacity for name in actions):
        return "the step takes no instance out of service"
    detail = (
        f"{plan.target} is in no Auto Scaling group, and {plan.playbook.name} is not standalone"
    )
    return Refusal(Reason.NO_GROUP, detail)


def require_step_target_free(inputs: GuardInput) -> str | Refusal:
    """The step's own target, which may be the instance's group, must be free."""
    plan = chosen_plan(inputs)
    refused = why_not_claimable(inputs, plan.target)
    if refused is None and changes_something(plan.step):
        refused = why_over_rate(inputs, plan.target)
    return refused or f"{plan.target} is free and within its rate limits"


def require_no_other_change(inputs: GuardInput) -> str | Refusal:
    r"""Nobody else may be changing the target, as both changes would interfere.

    ## change_in_progress

    Somebody else is changing the target or its group. `outcome` names the sign of it: an instance
    refresh, a member that is not in service or that its group replaces, the tag
    `smartcloudops:deploying`, a call of somebody else in CloudTrail within the last 15 minutes,
    somebody else's command or session on the instance (Systems Manager), a scheduled event of its
    host that has begun, or an interruption of the Spot Instance.

    ```sh
    aws autoscaling describe-instance-refreshes --auto-scaling-group-name "$ASG" --max-records 3
    aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$ASG" \
        --query 'AutoScalingGroups[].Tags'
    aws cloudtrail lookup-events \
        --lookup-attributes "AttributeKey=ResourceName,AttributeValue=$INSTANCE" --max-results 10
    ```

    **To lift it:** wait until the change ends, or cancel it. If a pipeline died, remove its tag. If
    a program changes the group all day, SmartCloudOps cannot act on that group.
    """
    action, changes = find_action(chosen_plan(inputs).step.action), inputs.snapshot.changes
    if action.allowed_during_changes or action.impact is Impact.HARMLESS:
        return f"{action.name} is allowed during other changes"
    if changes is None:
        detail = "AWS did not answer whether another change is in progress"
        return Refusal(Reason.STATE_UNKNOWN, detail)
    own = _changes_in_group(inputs.snapshot, rescues=action.safeguard is not None)
    if changes := [*changes, *own]:
        return Refusal(Reason.CHANGE_IN_PROGRESS, "; ".join(changes))
    age_s, announced = inputs.snapshot.trail_age_s, inputs.snapshot.announced
    told = announced.told(inputs.now) if announced else ""
    return f"no other change in progress{f', {age_s:.0f} s ago' if age_s else ''}{told}"


def _changes_in_group(snapshot: Snapshot, *, rescues: bool) -> Iterator[str]:
    """A sentence for each sign that others change the group or its member, or keep it as it is.

    The group itself terminates a member that it has marked Unhealthy, unless a step `rescues` it:
    such a step has a safeguard, because it takes the member out of the group's hands.
    """
    asg, target = snapshot.asg, snapshot.target
    if asg is None:
        return
    if asg.tags.get("smartcloudops:deploying", "false") != "false":
        yield f"{asg.name} has the tag smartcloudops:deploying"
    member = asg.members.get(target or "")
    if member is not None and member.lifecycle not in {"InService", *snapshot.moved}:
        yield f"{target} is {member.lifecycle} in {asg.name}"
    replaced = member is not None and member.lifecycle == "InService" and not member.healthy
    if replaced and not rescues and _REPLACING.isdisjoint(asg.suspended):
        yield f"{asg.name} has marked {target} Unhealthy, and replaces it"
    if asg.suspended - snapshot.lent >= _FREEZING:
        yield f"{asg.name} has suspended {', '.join(sorted(asg.suspended))}"


def require_sound_hardware(inputs: GuardInput) -> str | Refusal:
    r"""A step that leaves the instance on its host must not be the answer to a failed host.

    ## hardware_failed

    EC2's own status check of the host or of the attached EBS volumes fails. A reboot leaves the
    instance on the same host and mends neither.

    ```sh
    aws ec2 describe-instance-status --instance-ids "$INSTANCE" \
        --query 'InstanceStatuses[].[SystemStatus,AttachedEbsStatus,Events]'
    ```

    **Do:** stop and start the instance, which moves it to another host, or replace it. An instance
    with an instance-store root cannot be stopped, and a one-time Spot Instance neither: replace it.
    **To lift it:** nothing to do: the check passes once the instance is on a sound host.
    """
    plan, host = chosen_plan(inputs), inputs.snapshot.host
    if not find_action(plan.step.action).stays_on_host:
        return "the step does not rest on the host"
    if host is None:
        return Refusal(Reason.STATE_UNKNOWN, "AWS did not answer DescribeInstanceStatus")
    if host.failed_check:
        detail = (
            f"EC2's {host.failed_check} status check of {plan.target} fails, and "
            f"{plan.step.action} mends no hardware: stop and start it, or replace it"
        )
        return Refusal(Reason.HARDWARE_FAILED, detail)
    return f"EC2's system status check: {host.system}"


def require_unprotected(inputs: GuardInput) -> str | Refusal:
    """The step must not destroy an instance with termination protection.

    ## protected

    The step would destroy an instance that has termination protection. Ask the instance's owner for
    the reason.
    **To lift it:** remove the protection in EC2 (`disableApiTermination`) or in the group, or
    replace the instance by hand.
    """
    action, protected = find_action(chosen_plan(inputs).step.action), inputs.snapshot.protected
    if action.target is not TargetKind.INSTANCE or action.impact is not Impact.DESTRUCTIVE:
        return "the step destroys no instance"
    if protected is None:
        detail = "AWS did not answer whether the instance has termination protection"
        return Refusal(Reason.STATE_UNKNOWN, detail)
    if protected:
        return Refusal(Reason.PROTECTED, "the instance has termination protection")
    return "no termination protection"


def require_disruption_budget(inputs: GuardInput) -> str | Refusal:
    plan, snapshot = chosen_plan(inputs), inputs.snapshot
    if not find_action(plan.step.action).removes_capacity:
        return "the step takes no instance out of service"
    if snapshot.unread_health:
        arns = ", ".join(snapshot.unread_health)
        return Refusal(Reason.STATE_UNKNOWN, f"AWS did not answer who serves in {arns}")
    refusal = rules.require_disruption_budget(snapshot.scopes, snapshot.reserved, plan.target)
    return refusal or "enough other instances serve"
