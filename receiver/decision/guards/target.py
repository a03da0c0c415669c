"""Guards on the target in AWS: it must be the alert's target, and opted in."""

from collections.abc import Collection, Mapping, Sequence

from actions.aws.instances import Instance
from actions.aws.tags import OPT_IN_TAG
from actions.base import Action, TargetKind
from actions.catalog.registry import find_action
from actions.place import Place
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.guards.recent_acts import why_caused_by_us
from receiver.decision.ladder import chosen_plan, is_stopped_by_run, remaining_steps
from receiver.decision.model import Snapshot


def require_proven_target(inputs: GuardInput) -> str | Refusal:
    r"""AWS must confirm the instance or group as the alert's target, and as opted in.

    ## target_unproven

    AWS did not confirm the target. `outcome` says why: the target does not exist, is in a state in
    which no remaining step acts, was stopped by somebody's call to EC2, was launched after the
    alert began, is in another group or in none, or another account or region, or lacks the tag
    `smartcloudops:remediate=true`.

    ```sh
    aws sts get-caller-identity
    aws ec2 describe-instances --instance-ids "$INSTANCE" \
        --query 'Reservations[].Instances[].[State.Name,LaunchTime,Tags]'
    ```

    **To lift it:** if `outcome` has *did not confirm*, check the account and the region.
    If it has *no tag*, [opt in](install.md#2-allow-it-to-read-aws) the instance and its group. If
    it has *was launched after* or *not a member*, the instance was replaced, and the alert will
    resolve.
    """
    snapshot, instance = inputs.snapshot, inputs.snapshot.instance
    if snapshot.unread:
        return _unread(snapshot.unread)
    if doubt := _why_not_confirmed(snapshot):
        return _unproven(doubt)
    if snapshot.kind is TargetKind.GROUP or instance is None:
        return f"AWS confirms the group {snapshot.group}"
    actions = [find_action(step.action) for step in remaining_steps(inputs)]
    doubt = _why_another_instance(inputs, instance) or _why_out_of_place(inputs, instance, actions)
    return _unproven(doubt) if doubt else f"AWS confirms {instance.id}"


def require_place_of_step(inputs: GuardInput) -> str | Refusal:
    """The instance must be in the state, and the group, in which the chosen step finds it.

    Before the step is known, the state of any remaining step is enough.
    """
    action, instance = find_action(chosen_plan(inputs).step.action), inputs.snapshot.instance
    if action.target is not TargetKind.INSTANCE or instance is None:
        return "the step is not on an instance"
    doubt = _why_out_of_place(inputs, instance, [action])
    return _unproven(f"{doubt}: not for {action.name}") if doubt else f"{instance.state}"


def _why_not_confirmed(snapshot: Snapshot) -> str | None:
    """Why AWS does not show the target in its account and region, or the group as opted in."""
    if snapshot.group is not None and snapshot.asg is None:
        return f"AWS did not confirm the group {snapshot.group}"
    is_group = snapshot.kind is TargetKind.GROUP
    if not is_group and snapshot.instance is None:
        return f"AWS did not confirm {snapshot.target}"
    for read in (snapshot.instance, snapshot.asg):
        if read is not None and not _is_at(snapshot.place, read.labels):
            return f"AWS shows {snapshot.target} elsewhere than in {snapshot.place}"
    tags = snapshot.asg.tags if snapshot.asg else {}
    if is_group and tags.get(OPT_IN_TAG) != "true":
        return f"{snapshot.group} has no tag {OPT_IN_TAG}=true"
    return None


def _is_at(place: Place, labels: Mapping[str, str]) -> bool:
    """Whether an instance or a group with these labels is of the account and region."""
    return all(labels.get(name) == value for name, value in vars(place).items() if value)


def _why_another_instance(inputs: GuardInput, instance: Instance) -> str | None:
    """Why AWS does not tie the instance to the alert, or why it is not opted in; else None."""
    if instance.launched_at > inputs.trigger.starts_at and not _started_by_run(inputs):
        return f"{instance.id} was launched after the alert started"
    if instance.tags.get(OPT_IN_TAG) != "true":
        return f"{instance.id} has no tag {OPT_IN_TAG}=true"
    return None


def _started_by_run(inputs: GuardInput) -> bool:
    """Whether this run has started the stopped instance, which is a launch to EC2."""
    return any(
        action.run_id == inputs.trigger.run_id
        and action.target == inputs.snapshot.target
        and "stopped" in find_action(action.action).instance_states
        for action in inputs.snapshot.recent_actions or ()
    )


def _why_out_of_place(
    inputs: GuardInput, instance: Instance, actions: Collection[Action]
) -> str | None:
    """Why none of the actions takes the instance in its state, or outside of its group."""
    asg, group = inputs.snapshot.asg, inputs.snapshot.group
    states = Action.instance_states.union(*(action.instance_states for action in actions))
    if instance.state not in states:
        return f"{instance.id} is {instance.state}"
    by_others = inputs.trigger.request is None and not is_stopped_by_run(inputs)
    if instance.state == "stopped" and instance.stopped_by_call and by_others:
        return f"{instance.id} was stopped by a call to EC2, and stays so until a person starts it"
    outsider = instance.group is None and any(action.takes_outsiders for action in actions)
    if instance.group != group and not outsider:
        return f"{instance.id} is not in the group that the alert names"
    if asg is not None and instance.id not in asg.members and not outsider:
        return f"{instance.id} is no longer a member of {asg.name}"
    return None


def require_membership(inputs: GuardInput) -> str | Refusal:
    """The target must be a member of the group; the target itself is not read yet.

    Without a group, the target must be among the opted-in instances outside groups.
    """
    snapshot = inputs.snapshot
    peers = snapshot.peers
    if snapshot.unread:
        return _unread(snapshot.unread)
    if peers is None:
        return _unproven(f"AWS did not confirm the group of {snapshot.target}")
    if snapshot.kind is TargetKind.INSTANCE and snapshot.target not in peers:
        which = f"a member of {snapshot.group}" if snapshot.group else "opted in, or not running"
        return _unproven(f"{snapshot.target} is not {which}")
    return f"member of {snapshot.group}" if snapshot.group else "opted in, outside groups"


def require_not_newborn(inputs: GuardInput) -> str | Refusal:
    """The instance must not be newly launched by a scaling action of the service."""
    if inputs.trigger.request is not None:
        return "requested by a person"
    snapshot, instance = inputs.snapshot, inputs.snapshot.instance
    for action in snapshot.recent_actions or ():
        launched_by_us = (
            instance is not None
            and action.target == snapshot.group
            and action.launches
            and instance.launched_at > action.at
        )
        refused = why_caused_by_us(inputs, action) if launched_by_us else None
        if refused is not None:
            return refused
    return "not launched by a recent action of ours"


def _unread(calls: Sequence[str]) -> Refusal:
    return Refusal(Reason.STATE_UNKNOWN, f"AWS did not answer {', '.join(calls)}")


def _unproven(detail: str) -> Refusal:
    return Refusal(Reason.TARGET_UNPROVEN, detail)
