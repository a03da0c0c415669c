"""The scripted incidents: their faults, the expected actions, and the record of each."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A scripted incident; without an expected `action` the `refusal` is expected.

    `calls` is how many calls to AWS change the target. A person approves the step of the action
    `approved` when the service asks.
    """

    fault: str
    group: str
    whole_group: bool
    action: str | None
    refusal: str | None = None
    calls: int = 1
    approved: str | None = None


SCRIPT = (
    Incident(fault="cpu_runaway", group="web-asg", whole_group=False, action="reboot_instance"),
    Incident(
        fault="traffic_surge", group="api-asg", whole_group=True, action="set_desired_capacity"
    ),
    Incident(
        fault="batch_job",
        group="web-asg",
        whole_group=False,
        action=None,
        refusal="verdict_refuted",
    ),
    Incident(fault="service_hang", group="web-asg", whole_group=False, action="restart_service"),
    Incident(fault="disk_full", group="web-asg", whole_group=False, action="run_document"),
    Incident(fault="memory_leak", group="web-asg", whole_group=False, action="restart_service"),
    Incident(
        fault="hardware_failure",
        group="web-asg",
        whole_group=False,
        action="stop_instance",
        calls=2,
    ),
    Incident(
        fault="bad_deploy",
        group="web-asg",
        whole_group=True,
        action="cancel_instance_refresh",
        calls=2,
        approved="restore_version",
    ),
)


@dataclass(kw_only=True)
class Observed:
    """The record of an incident; seconds are counted from the fault."""

    fault: str
    target: str
    fault_at: float
    action: str | None = None
    refusal: str | None = None
    run_id: str | None = None
    why: str = ""
    alert_at: float | None = None
    received_s: float | None = None
    decided_s: float | None = None
    acted_s: float | None = None
    recovered_s: float | None = None
    ended_as_expected: bool = False
