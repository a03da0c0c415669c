"""A plan as a run stores it."""

from dataclasses import replace
from typing import Any

from actions.execution.records import Bounds, Rates
from receiver.runs.model import PlannedVerification, StoredPlan

_REBOOT = StoredPlan(
    playbook="high-cpu",
    playbook_digest="d",
    digest="d",
    rung=0,
    action="reboot_instance",
    target="i-0123456789abcdef0",
    group="",
    params={},
    basis={},
    identity={},
    before=(),
    must_be_free=(),
    cooldown_s=300,
    rates=Rates(),
    bounds=Bounds(),
    rollback=False,
    approval_s=1800,
    escalate=(),
    verify=PlannedVerification(expr="recovered", worse=None, for_s=0.2, timeout_s=0.5),
)


def stored_plan(**changes: Any) -> StoredPlan:
    """To reboot an instance, unless the changes say otherwise."""
    return replace(_REBOOT, **changes)
