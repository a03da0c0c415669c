"""Compares what a run would have done with what people did about the same alert.

A session on the host, such as SSM's, shows that a person was on it, not what they did there.
https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-auditing.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from actions.assurance.cloudtrail import ApiCall
from actions.base import Impact
from actions.catalog.registry import find_action

# The catalogue's action for each call that people make to remedy something.
ACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "RebootInstances": "reboot_instance",
        "StopInstances": "stop_instance",
        "StartInstances": "start_instance",
        "TerminateInstances": "replace_instance",
        "TerminateInstanceInAutoScalingGroup": "replace_instance",
        "SendCommand": "restart_service",
        "StartAutomationExecution": "run_document",
        "AttachInstances": "attach_instance",
        "DetachInstances": "detach_instance",
        "EnterStandby": "enter_standby",
        "ExitStandby": "exit_standby",
        "SuspendProcesses": "suspend_processes",
        "ResumeProcesses": "resume_processes",
        "DeregisterTargets": "deregister_target",
        "RegisterTargets": "register_target",
        "ModifyRule": "shift_traffic",
        "StartZonalShift": "start_zonal_shift",
        "CancelZonalShift": "cancel_zonal_shift",
        "StartInstanceRefresh": "start_instance_refresh",
        "CancelInstanceRefresh": "cancel_instance_refresh",
        "RollbackInstanceRefresh": "rollback_instance_refresh",
    }
)
_CAPACITY = frozenset({"SetDesiredCapacity", "UpdateAutoScalingGroup"})
_SESSIONS = frozenset({"StartSession", "SendSSHPublicKey", "SendSerialConsoleSSHPublicKey"})
# CloudTrail does not tell which document or command it was, so these are one.
_SAME = MappingProxyType(
    {"run_document": "restart_service", "restore_version": "start_instance_refresh"}
)
# Of two disruptive actions the earlier one is lighter.
_DISRUPTIVE = ("restart_service", "reboot_instance", "stop_instance")
_IMPACTS = list(Impact)


class Agreement(StrEnum):
    """How a run that did nothing compares with what people did; the service's act is meant."""

    AGREE = "agree"  # people did the same
    HEAVIER = "heavier"  # people did something lighter, or something else of that weight
    LIGHTER = "lighter"  # people did something heavier
    NEEDLESS = "needless"  # nobody did anything, and the fault ended
    MISSED = "missed"  # the run was refused, and people acted
    OPEN = "open"  # it cannot be told


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The agreement, and what people did: an action of the catalogue, or None."""

    agreement: Agreement
    action: str | None


def compare(
    planned: str | None, basis: Mapping[str, Any], calls: Sequence[ApiCall], *, over: bool
) -> Compared:
    """Compare the `planned` action, None of a refused run, with people's calls during the fault.

    `basis` are the plan's facts about its target, with `desired` of a group. `over`: the fault has
    ended.
    """
    done = [action for call in calls if (action := action_of(call, basis))]
    heaviest = max(done, key=_weight, default=None)
    if planned is None:
        missed = Agreement.MISSED if done else Agreement.OPEN
        return Compared(agreement=missed, action=heaviest)
    own = _SAME.get(planned, planned)
    if own in done:
        return Compared(agreement=Agreement.AGREE, action=own)
    if heaviest is not None:
        lighter = _weight(own) < _weight(heaviest)
        agreement = Agreement.LIGHTER if lighter else Agreement.HEAVIER
        return Compared(agreement=agreement, action=heaviest)
    on_it = any(call.operation in _SESSIONS for call in calls)
    agreement = Agreement.NEEDLESS if over and not on_it else Agreement.OPEN
    return Compared(agreement=agreement, action=None)


def action_of(call: ApiCall, basis: Mapping[str, Any]) -> str | None:
    """The catalogue's action that this call amounts to; None for a call that remedies nothing."""
    if call.operation in _CAPACITY:
        wanted = call.parameters.get("desiredCapacity", call.parameters.get("DesiredCapacity"))
        if wanted is None:
            return None
        return "scale_in" if int(wanted) < basis.get("desired", 0) else "set_desired_capacity"
    action = ACTIONS.get(call.operation)
    return action if action is None else _SAME.get(action, action)


def _weight(action: str) -> tuple[int, int]:
    order = _DISRUPTIVE.index(action) if action in _DISRUPTIVE else len(_DISRUPTIVE)
    return _IMPACTS.index(find_action(action).impact), order
