"""The scripted incidents: their faults, the expected actions, and the record of each."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A scripted incident; without an expected `action` the `refusal` is expected.

    `calls` is how many calls to AWS change the target. A person approves the step of the action
    `approved` when the service asks. What the fault brought is `ended` once the group is well.
    """

    fault: str
    group: str
    whole_group: bool
    action: str | None
    refusal: str | None = None
    calls: int = 1
    approved: str | None = None
    ended: bool = False


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
    # Asked for before the threshold, by the watch.
    Incident(
        fault="memory_leak",
        group="web-asg",
        whole_group=False,
        action="restart_service",
        approved="restart_service",
    ),
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


_BY_FAULT = {incident.fault: incident for incident in SCRIPT}
# On real machines the leak, whose verification takes a minute, is in the other group, beside the
# rest. The surge comes after what breaks one machine, and ends once it is carried: it takes most of
# two processors.
ON_MACHINES = (
    _BY_FAULT["cpu_runaway"],
    _BY_FAULT["batch_job"],
    _BY_FAULT["service_hang"],
    _BY_FAULT["disk_full"],
    replace(_BY_FAULT["memory_leak"], group="api-asg"),
    _BY_FAULT["hardware_failure"],
    replace(_BY_FAULT["traffic_surge"], ended=True),
    _BY_FAULT["bad_deploy"],
)


class UnknownFaultError(ValueError):
    """The script has no such incident; the text has those that it has."""


def choose(script: Sequence[Incident], only: Sequence[str]) -> tuple[Incident, ...]:
    """The incidents of these faults, all without any, in the order of the script.

    Raises UnknownFaultError.
    """
    known = [incident.fault for incident in script]
    for fault in only:
        if fault not in known:
            raise UnknownFaultError(f"no incident {fault!r}; there are: {', '.join(known)}")
    return tuple(incident for incident in script if not only or incident.fault in only)


def stages(script: Sequence[Incident]) -> Iterator[Sequence[Sequence[Incident]]]:
    """What follows another; sequences of one stage are played at the same time, one for each group.

    Incidents of one group wait for each other, since a group spares one member at a time. One that
    strikes a whole group is a stage of its own.
    """
    for whole_group, incidents in groupby(script, lambda incident: incident.whole_group):
        if whole_group:
            yield from ([[incident]] for incident in incidents)
        else:
            by_group = defaultdict[str, list[Incident]](list)
            for incident in incidents:
                by_group[incident.group].append(incident)
            yield [*by_group.values()]


@dataclass(kw_only=True)
class Observed:
    """The record of an incident; seconds are counted from the fault.

    On real machines there are also the boot id of the target and its service's process id, before
    and after, and the requests to its group that callers saw fail: from the fault to the act, and
    from the act to the recovery.
    """

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
    boot_before: str | None = None
    boot_after: str | None = None
    process_before: str | None = None
    process_after: str | None = None
    requests_failed_fault: int | None = None
    requests_failed_act: int | None = None
