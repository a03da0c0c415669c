"""Guards on the target in AWS: it must be the alert's target, and opted in."""

from collections.abc import Sequence

from actions.aws.instances import Instance
from actions.aws.tags import OPT_IN_TAG
from actions.base import TargetKind
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.guards.recent_acts import why_caused_by_us


def require_proven_target(inputs: GuardInput) -> str | Refusal:
    r"""AWS must confirm the instance or group as the alert's target, and as opted in.

    ## target_unproven

    AWS did not confirm the target. `outcome` says why: the target does not exist, is not running,
    was launched after the alert began, is in another group or in none, or lacks the tag
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
    if snapshot.group is not None and snapshot.asg is None:
        return _unproven(f"AWS did not confirm the group {snapshot.group}")
    if snapshot.kind is TargetKind.GROUP:
        tags = snapshot.asg.tags if snapshot.asg else {}
        if tags.get(OPT_IN_TAG) != "true":
            return _unproven(f"{snapshot.group} has no tag {OPT_IN_TAG}=true")
        return f"AWS confirms the group {snapshot.group}"
    if instance is None:
        return _unproven(f"AWS did not confirm {snapshot.target}")
    doubt = _why_another_instance(inputs, instance)
    return _unproven(doubt) if doubt else f"AWS confirms {instance.id}"


def _why_another_instance(inputs: GuardInput, instance: Instance) -> str | None:
    """Why AWS does not tie the instance to the alert, or why it is not opted in; else None."""
    asg = inputs.snapshot.asg
    if instance.state != "running":
        return f"{instance.id} is {instance.state}"
    if instance.launched_at > inputs.trigger.starts_at:
        return f"{instance.id} was launched after the alert started"
    if instance.group != inputs.snapshot.group:
        return f"{instance.id} is not in the group that the alert names"
    if asg is not None and instance.id not in asg.members:
        return f"{instance.id} is no longer a member of {asg.name}"
    if instance.tags.get(OPT_IN_TAG) != "true":
        return f"{instance.id} has no tag {OPT_IN_TAG}=true"
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
