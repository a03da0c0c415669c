"""What EC2 says of an instance's host: its status checks and its scheduled events.

A failed system check is the hardware's: a reboot stays on it, a stop and a start leave it.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actions.aws.client_set import Aws
from actions.aws.target_errors import NotActionableError

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef, InstanceStatusEventTypeDef
    from types_boto3_ec2.type_defs import InstanceStatusTypeDef as StatusTypeDef

IMPAIRED = "impaired"
EVENT_CODES = (
    "instance-reboot",
    "instance-retirement",
    "instance-stop",
    "system-maintenance",
    "system-reboot",
)
_STOPS = frozenset({"instance-retirement", "instance-stop"})
# Events after which the instance runs on where it is: EC2 is at work on it meanwhile.
_PASSING = frozenset({"instance-reboot", "system-maintenance", "system-reboot"})
# How the description of an event begins that is over; EC2 shows it for a week.
_OVER = ("[Completed]", "[Canceled]")


@dataclass(frozen=True, kw_only=True)
class HostEvent:
    """A scheduled event, by EC2's code; it begins at `at` (epoch seconds) at the earliest.

    It ends by `until`, None where EC2 tells no end.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html
    """

    code: str
    at: float
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """The status checks of an instance in EC2's words, and the events to come, earliest first.

    A check is "ok", "impaired", "initializing", "insufficient-data" or "not-applicable".
    `impaired_since` is when the system check failed, in epoch seconds.
    """

    id: str
    system: str
    instance: str
    ebs: str
    impaired_since: float | None = None
    events: Sequence[HostEvent] = ()

    @property
    def failed_check(self) -> str:
        """The failed check that no reboot mends; empty without any."""
        checks = {"system": self.system, "attached EBS": self.ebs}
        return next((name for name, status in checks.items() if status == IMPAIRED), "")

    @property
    def must_be_left(self) -> bool:
        """Whether the host has failed, or EC2 will stop its instances."""
        return bool(self.failed_check) or any(event.code in _STOPS for event in self.events)

    def maintenance(self, now: float) -> Sequence[str]:
        """A sentence for each event by which EC2 may be rebooting or mending the host now."""
        return [
            f"EC2 may be at work on the host of {self.id}: its {event.code} began "
            f"{now - event.at:.0f} s ago"
            for event in self.events
            if event.code in _PASSING and event.at <= now <= (event.until or now)
        ]


def read_host_status(aws: Aws, instance_id: str) -> HostStatus:
    """The status of the instance's host.

    Raises NotActionableError where the instance does not exist; botocore's errors pass through.
    """
    try:
        answer = aws.ec2.describe_instance_status(
            InstanceIds=[instance_id], IncludeAllInstances=True
        )
    except aws.ec2.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "InvalidInstanceID.NotFound":
            raise NotActionableError(f"{instance_id} does not exist") from None
        raise
    for status in answer["InstanceStatuses"]:
        if status.get("InstanceId") == instance_id:
            return _status(status)
    raise NotActionableError(f"EC2 says nothing of the status of {instance_id}")


def read_host_statuses(aws: Aws, ids: Sequence[str]) -> Mapping[str, HostStatus]:
    """The statuses of these instances' hosts, by id, at most 100.

    Without those that do not exist: where EC2 refuses all for one of them, each is asked for.
    """
    try:
        answer = aws.ec2.describe_instance_status(InstanceIds=list(ids), IncludeAllInstances=True)
    except aws.ec2.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "InvalidInstanceID.NotFound":
            raise
        if len(ids) == 1:
            return {}
        return {
            found: status for one in ids for found, status in read_host_statuses(aws, [one]).items()
        }
    statuses = [_status(status) for status in answer["InstanceStatuses"]]
    return {status.id: status for status in statuses if status.id in ids}


def read_volume_checks(aws: Aws, ids: Sequence[str]) -> Mapping[str, str]:
    """The status of each instance's volumes: "impaired" where one of them is, else "ok".

    EC2 disables the I/O of such a volume, whose data may be inconsistent. Few volumes are impaired,
    and a status does not always name its instance. botocore's errors pass through.
    https://docs.aws.amazon.com/ebs/latest/userguide/monitoring-volume-checks.html
    """
    impaired: FilterTypeDef = {"Name": "volume-status.status", "Values": [IMPAIRED]}
    pages = aws.ec2.get_paginator("describe_volume_status").paginate(Filters=[impaired])
    volumes = {status.get("VolumeId") for page in pages for status in page["VolumeStatuses"]}
    if not volumes:
        return dict.fromkeys(ids, "ok")
    attached = aws.ec2.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": "attachment.instance-id", "Values": list(ids)}]
    )
    ill = {
        attachment.get("InstanceId")
        for page in attached
        for volume in page["Volumes"]
        if volume.get("VolumeId") in volumes
        for attachment in volume.get("Attachments", [])
    }
    return {one: IMPAIRED if one in ill else "ok" for one in ids}


def find_affected(aws: Aws) -> Sequence[HostStatus]:
    """Running instances whose system check fails, or whose host has a scheduled event.

    botocore's errors pass through.
    """
    impaired: FilterTypeDef = {"Name": "system-status.status", "Values": [IMPAIRED]}
    scheduled: FilterTypeDef = {"Name": "event.code", "Values": EVENT_CODES}
    pages = [
        page
        for condition in (impaired, scheduled)
        for page in aws.ec2.get_paginator("describe_instance_status").paginate(Filters=[condition])
    ]
    statuses = [_status(status) for page in pages for status in page["InstanceStatuses"]]
    affected = {
        status.id: status for status in statuses if status.system == IMPAIRED or status.events
    }
    return [affected[instance_id] for instance_id in sorted(affected)]


def _status(answer: "StatusTypeDef") -> HostStatus:
    """Parse a status; an old type of instance has no check of its volumes."""
    system: Any = answer["SystemStatus"]
    since = [detail.get("ImpairedSince") for detail in system.get("Details", [])]
    return HostStatus(
        id=answer["InstanceId"],
        system=system["Status"],
        instance=answer["InstanceStatus"]["Status"],
        ebs=answer.get("AttachedEbsStatus", {}).get("Status", "not-applicable"),
        impaired_since=next((at.timestamp() for at in since if at is not None), None),
        events=sorted(
            (_event(event) for event in answer.get("Events", []) if not _is_over(event)),
            key=lambda event: event.at,
        ),
    )


def _event(answer: "InstanceStatusEventTypeDef") -> HostEvent:
    until = answer.get("NotAfter")
    return HostEvent(
        code=answer["Code"],
        at=answer["NotBefore"].timestamp(),
        until=until.timestamp() if until else None,
    )


def _is_over(answer: "InstanceStatusEventTypeDef") -> bool:
    return answer.get("Description", "").startswith(_OVER)
