"""The next step of a playbook's ladder, and its target."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from actions.base import Impact, TargetKind
from actions.catalog.registry import find_action
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.facts import condition_facts
from receiver.decision.guards.base import GuardInput, require_named
from receiver.decision.model import Plan, Snapshot
from receiver.decision.versions import last_healthy
from receiver.playbooks.choices import NotListedError, chosen
from receiver.playbooks.schema import Step
from receiver.runs.consequences import Consequences
from receiver.runs.model import ApprovalRule
from receiver.settings import Mode

# The refusal of a storm names at most this many instances.
_NAMED_MAX = 10


def remaining_steps(inputs: GuardInput) -> Sequence[Step]:
    """The remaining steps of the ladder."""
    return inputs.playbooks[0].steps[inputs.snapshot.rung :]


def is_stopped_by_run(inputs: GuardInput) -> bool:
    """Whether the run itself has stopped the instance: then no metrics speak of it any more."""
    instance = inputs.snapshot.instance
    if instance is None or instance.state != "stopped":
        return False
    begun = inputs.trigger.playbook_digest is not None
    earlier = inputs.playbooks[0].steps[: inputs.snapshot.rung]
    return begun and any(step.action == "stop_instance" for step in earlier)


def changes_something(step: Step) -> bool:
    return find_action(step.action).impact is not Impact.HARMLESS


def changes_instance(step: Step) -> bool:
    return changes_something(step) and find_action(step.action).target is TargetKind.INSTANCE


def removes_members(step: Step) -> bool:
    """Whether the step may take any instance of the group out of service."""
    actions = (step.action, *(before.action for before in step.before))
    return any(find_action(name).removes_members for name in actions)


def choose(inputs: GuardInput) -> Plan | Refusal:
    """The first remaining step of the ladder whose condition holds.

    ## condition_unknown

    `outcome` quotes a step's `when` that needs an unknown value. Usually the query of a `fact`
    returns no value or several, or the siblings cannot be compared.
    **To lift it:** run the playbook's `facts` in Prometheus with this target's id, fix the query,
    and run `smartcloudops test`. Add `or vector(0)` to a query only if no data really means zero.

    ## no_step

    No step's `when` holds, or the run has tried all steps. A step whose recovery did not last half
    an hour (`limits.relapse`) is not repeated.
    **To lift it:** handle the alert by hand. If the playbook should handle it, add a test with this
    verdict and these labels, then a step.

    ## not_listed

    A param of the step is chosen by a label of the alert, and the playbook does not list the
    label's text.
    **To lift it:** if the action may do this to what the label names, add the text to `one_of`.
    """
    facts = condition_facts(inputs)
    for rung, step in enumerate(remaining_steps(inputs), inputs.snapshot.rung):
        holds = True if step.when is None else step.when.evaluate(facts)
        if holds is None:
            detail = f"the step's condition needs an unknown value: {step.when}"
            return Refusal(Reason.CONDITION_UNKNOWN, detail)
        if holds:
            return _plan(inputs, rung, step)
    if inputs.storm:
        calm = replace(facts, group=replace(facts.group, storm=False, one_zone=False))
        if any(step.when and step.when.evaluate(calm) for step in remaining_steps(inputs)):
            return refuse_storm(inputs)
    which = "further step" if inputs.snapshot.rung else "step"
    detail = f"the condition of no {which} holds"
    if inputs.snapshot.relapse_of:
        detail += f", and the recovery by run {inputs.snapshot.relapse_of} did not last"
    return Refusal(Reason.NO_STEP, detail)


def refuse_storm(inputs: GuardInput) -> Refusal:
    """The refusal that names the instances."""
    alerting = sorted(inputs.snapshot.alerting_peers or ())
    named = ", ".join(alerting[:_NAMED_MAX])
    if len(alerting) > _NAMED_MAX:
        named += f" and {len(alerting) - _NAMED_MAX} more"
    whose = f"of {inputs.snapshot.group}" if inputs.snapshot.group else "outside groups"
    size = len(inputs.snapshot.peers or ())
    return Refusal(
        Reason.STORM, f"storm: {len(alerting)} of {size} instances {whose} alert: {named}"
    )


def chosen_plan(inputs: GuardInput) -> Plan:
    """The plan of `choose`, for guards after `step`: that guard refuses a run without a plan."""
    match choose(inputs):
        case Plan() as plan:
            return plan
        case Refusal(detail=detail):
            raise RuntimeError(f"unreachable: the step guard refuses this: {detail}")


def _plan(inputs: GuardInput, rung: int, step: Step) -> Plan | Refusal:
    snapshot = inputs.snapshot
    kind = find_action(step.action).target
    target = {
        TargetKind.GROUP: snapshot.group,
        TargetKind.INSTANCE: _instance_id(snapshot),
        TargetKind.ANY: snapshot.target,
    }[kind]
    if target is None:
        detail = f"{step.action} needs a target of kind {kind}, and the alert names none"
        return Refusal(Reason.NO_TARGET, detail)
    try:
        params = chosen(step.params, inputs.trigger.labels)
    except NotListedError as error:
        return Refusal(Reason.NOT_LISTED, str(error))
    step = step.model_copy(update={"params": params})
    verify = step.verify or inputs.playbooks[0].verify
    queries = [] if verify is None else [verify.expr, verify.worse]
    before = [before.params for before in step.before]
    refused = require_named(inputs, step.params, *before, *queries)
    if refused is not None:
        return refused
    return Plan(
        playbook=inputs.playbooks[0],
        rung=rung,
        step=step,
        place=snapshot.place,
        target=target,
        instance_id=_instance_id(snapshot) or "",
        group=snapshot.group or "",
        selector=snapshot.selector,
        siblings=snapshot.siblings,
        members_selector=snapshot.members_selector,
        host_label=snapshot.host_label,
        exporter=snapshot.exporter,
        named_by=snapshot.named_by,
        healthy_version=str(last_healthy(snapshot.seen) or ""),
        members=sorted(snapshot.asg.members) if snapshot.asg else (),
        identity=inputs.identity_of_members if removes_members(step) else inputs.identity,
        basis=_basis(snapshot, target),
        approvals=_approval_rule(snapshot, step),
        consequences=_consequences(inputs, rung, step, target),
    )


def _consequences(inputs: GuardInput, rung: int, step: Step, target: str) -> Consequences:
    """What a person who is asked should know; the first scope is the whole group."""
    snapshot = inputs.snapshot
    instance = snapshot.instance if target == _instance_id(snapshot) else None
    later = inputs.playbooks[0].steps[rung + 1 :]
    following = later[0] if later else None
    scope = snapshot.scopes[0] if snapshot.scopes and instance else None
    known = Consequences(
        name=instance.tags.get("Name", "") if instance else "",
        address=min(instance.addresses, default="") if instance else "",
        next_action=following.action if following else "",
        next_asks=following is not None and _asks(snapshot, following),
    )
    if scope is None or not find_action(step.action).removes_capacity:
        return known
    reserved = (snapshot.reserved or {}).get(scope.name, frozenset())
    out = (scope.out | reserved | {target}) & scope.members
    members = len(scope.members)
    return replace(known, members=members, stay=members - len(out), limit=scope.limit)


def _asks(snapshot: Snapshot, step: Step) -> bool:
    asks = step.ask or step.approvals or find_action(step.action).needs_approval
    return bool(asks) or snapshot.mode is Mode.APPROVE


def _approval_rule(snapshot: Snapshot, step: Step) -> ApprovalRule:
    """The stricter of the rules of the step and of the profile."""
    destructive = find_action(step.action).impact is Impact.DESTRUCTIVE
    profile = snapshot.destructive_approvals if destructive else 1
    of_step = step.approvals.people if step.approvals else 1
    source = "the playbook" if step.approvals else ""
    return ApprovalRule(
        people=max(profile, of_step),
        excluded=step.approvals.excluded if step.approvals else (),
        source="SMARTCLOUDOPS_DESTRUCTIVE_APPROVALS" if profile > of_step else source,
    )


def _basis(snapshot: Snapshot, target: str) -> Mapping[str, Any]:
    """Facts that identify the target of the plan."""
    if target == snapshot.group and snapshot.asg is not None:
        asg = snapshot.asg
        return {"desired": asg.desired, "minimum": asg.minimum, "maximum": asg.maximum}
    if snapshot.instance is not None:
        instance = snapshot.instance
        return {
            "launched_at": instance.launched_at,
            "state": instance.state,
            "group": instance.group,
        }
    return {}


def _instance_id(snapshot: Snapshot) -> str | None:
    return snapshot.target if snapshot.kind is TargetKind.INSTANCE else None
