"""ministack, an emulator of AWS by other people, in this process: `make ministack` fetches it.

What it lacks and this launcher adds: members of groups are instances of its EC2, groups have target
groups, two filters of DescribeInstances are honoured, running instances have an SSM agent, and
nobody else sends them a command or has a session on them.
"""

import functools
import importlib
import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

from actions.aws.client_set import Aws
from actions.aws.tags import GROUP_TAG, OPT_IN_TAG
from demo.aws.calls import StartResponse
from demo.aws.clients import clients
from demo.aws.world import REGION

_FOLDER = Path(__file__).parents[2] / ".tools" / "ministack"
_SERVICES = {
    "autoscaling": "autoscaling",
    "cloudtrail": "cloudtrail",
    "ec2": "ec2",
    "elasticloadbalancing": "alb",
    "sns": "sns",
    "ssm": "ssm",
    "sts": "sts",
}
_accounts = itertools.count(100_000_000_000)


@dataclass
class Ministack:
    """Its services as one WSGI application, for an account of its own; `writes` are the changes."""

    account: str = field(default_factory=lambda: str(next(_accounts)))
    writes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._services = load()
        self.aws: Aws = clients(self)

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        scope = environ["HTTP_AUTHORIZATION"].partition("Credential=")[2].split("/")
        body, target = environ["wsgi.input"].read(), environ.get("HTTP_X_AMZ_TARGET", "")
        form = parse_qs(body.decode())
        operation = target.rpartition(".")[2] or form["Action"][0]
        handler = self._services[scope[3]].handle_request
        with _part("core.responses").request_scope(self.account, REGION):
            status, headers, answer = _run(handler("POST", "/", {"x-amz-target": target}, body, {}))
        if status == 200 and not operation.startswith(("Describe", "Get", "List", "Lookup")):
            self.writes.append(operation)
        start_response(f"{status} ministack", list(headers.items()))
        return [answer if isinstance(answer, bytes) else answer.encode()]

    def lacks(self, permission: str) -> bool:
        """Whether it does not know the call of this permission."""
        service, _, operation = permission.partition(":")
        if service not in self._services:
            return True
        form = b"{}" if service == "ssm" else f"Action={operation}".encode()
        headers = {"x-amz-target": f"{service}.{operation}"}
        with _part("core.responses").request_scope(self.account, REGION):
            handler = self._services[service].handle_request
            _, _, answer = _run(handler("POST", "/", headers, form, {}))
        return b"InvalidAction" in (answer if isinstance(answer, bytes) else answer.encode())

    def add_host(self) -> str:
        """A running instance of no group, with one interface."""
        ec2 = self.aws.ec2
        answer = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
        instance = answer["Instances"][0]
        ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[_tag(OPT_IN_TAG, "true")])
        eni = ec2.create_network_interface(SubnetId=instance["SubnetId"])["NetworkInterface"]
        ec2.attach_network_interface(
            NetworkInterfaceId=eni["NetworkInterfaceId"],
            InstanceId=instance["InstanceId"],
            DeviceIndex=0,
        )
        return instance["InstanceId"]

    def add_target_group(self, name: str) -> str:
        answer = self.aws.elbv2.create_target_group(
            Name=name, Protocol="HTTP", Port=8080, VpcId="vpc-00000001"
        )
        return answer["TargetGroups"][0]["TargetGroupArn"]

    def add_group(self, name: str, size: int, *target_groups: str) -> list[str]:
        """A group whose members are targets; their ids."""
        self.aws.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=2,
            MaxSize=12,
            DesiredCapacity=size,
            AvailabilityZones=[f"{REGION}a"],
            LaunchTemplate={"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "1"},
            TargetGroupARNs=list(target_groups),
            Tags=[_tag(OPT_IN_TAG, "true") | {"ResourceId": name, "PropagateAtLaunch": True}],
        )
        members = self.members(name)
        for arn in target_groups:
            self.aws.elbv2.register_targets(
                TargetGroupArn=arn, Targets=[{"Id": member} for member in members]
            )
        return members

    def members(self, name: str) -> list[str]:
        answer = self.aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return [member["InstanceId"] for member in answer["AutoScalingGroups"][0]["Instances"]]

    def state(self, instance_id: str) -> str:
        answer = self.aws.ec2.describe_instances(InstanceIds=[instance_id])
        return answer["Reservations"][0]["Instances"][0]["State"]["Name"]


@functools.cache
def load() -> Mapping[str, Any]:
    """Its services by the names under which requests are signed, with what is added to them."""
    if not _FOLDER.is_dir():
        raise FileNotFoundError(f"{_FOLDER} is missing: run `make ministack`")
    sys.path.append(str(_FOLDER))
    # Its server, of which the services ask only whether requests must be signed.
    server: Any = ModuleType("ministack.app")
    server.AUTH = False
    sys.modules[server.__name__] = server
    services = {signed: _part(f"services.{name}") for signed, name in _SERVICES.items()}
    _make_members_instances(services["autoscaling"], services["ec2"])
    _give_target_groups(services["autoscaling"])
    _honour_filters(services["ec2"])
    services["ec2"].instance_is_managed = lambda instance_id: (
        services["ec2"]._instances[instance_id]["State"]["Name"] == "running"
    )
    _list_nobody(services["ssm"])
    return services


def _make_members_instances(autoscaling: Any, ec2: Any) -> None:
    reconcile = autoscaling._reconcile_instances

    def launch(group: dict[str, Any]) -> None:
        known = {member["InstanceId"] for member in group["Instances"]}
        reconcile(group)
        for member in group["Instances"]:
            if member["InstanceId"] not in known:
                (instance,) = ec2._launch_instances_internal(
                    "ami-12345678", "t3.micro", ec2._DEFAULT_SUBNET_ID, 1
                )
                member["InstanceId"] = instance["InstanceId"]
                own = [_tag(tag["Key"], tag["Value"]) for tag in group["Tags"]]
                group_tag = _tag(GROUP_TAG, group["AutoScalingGroupName"])
                ec2._tags[instance["InstanceId"]] = [*own, group_tag]

    autoscaling._reconcile_instances = launch


def _give_target_groups(autoscaling: Any) -> None:
    create, describe = autoscaling._create_asg, autoscaling._describe_asgs

    def with_target_groups(params: Mapping[str, Any]) -> Any:
        answer = create(params)
        arns = autoscaling._parse_member_list(params, "TargetGroupARNs")
        autoscaling._asgs[params["AutoScalingGroupName"]]["TargetGroupARNs"] = arns
        return answer

    def describe_with_them(params: Mapping[str, Any]) -> Any:
        status, headers, body = describe(params)
        text = body.decode()
        for name, group in autoscaling._asgs.items():
            arns = "".join(f"<member>{arn}</member>" for arn in group["TargetGroupARNs"])
            end = f"<AutoScalingGroupName>{name}</AutoScalingGroupName>"
            more = f"<TargetGroupARNs>{arns}</TargetGroupARNs><SuspendedProcesses/>"
            text = text.replace(end, end + more)
        return status, headers, text.encode()

    autoscaling._ACTION_MAP["CreateAutoScalingGroup"] = with_target_groups
    autoscaling._ACTION_MAP["DescribeAutoScalingGroups"] = describe_with_them


def _honour_filters(ec2: Any) -> None:
    matches = ec2._matches_filters
    fields = {"instance-id": "InstanceId", "private-ip-address": "PrivateIpAddress"}

    def honour(instance: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
        own = all(
            instance[key] in filters.get(name, [instance[key]]) for name, key in fields.items()
        )
        return own and matches(instance, filters)

    ec2._matches_filters = honour


def _list_nobody(ssm: Any) -> None:
    handle = ssm.handle_request
    lists = {"DescribeSessions": "Sessions", "ListCommandInvocations": "CommandInvocations"}

    async def answer(*request: Any) -> Any:
        _, _, headers, *_ = request
        operation = headers["x-amz-target"].rpartition(".")[2]
        if operation in lists:
            return 200, {}, json.dumps({lists[operation]: []})
        return await handle(*request)

    ssm.handle_request = answer


def _run(handler: Any) -> Any:
    """The answer of a coroutine that waits for nothing."""
    try:
        handler.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("ministack waits for something outside of this process")


def _part(name: str) -> Any:
    return importlib.import_module(f"ministack.{name}")


def _tag(key: str, value: str) -> Any:
    return {"Key": key, "Value": value}
