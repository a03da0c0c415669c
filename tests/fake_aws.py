"""EC2 and Auto Scaling, answered at the HTTP edge of boto3."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from actions.aws.client_set import Aws, add_run_to_user_agent
from actions.execution.records import ClaimRequest, Rates

HOST = "i-0123456789abcdef0"
_EC2 = "http://ec2.amazonaws.com/doc/2016-11-15/"
_ASG = "http://autoscaling.amazonaws.com/doc/2011-01-01/"


def claim_request(target: str, run_id: str, **more: Any) -> ClaimRequest:
    """A claim on the target, with a short cooldown."""
    request = ClaimRequest(
        run_id=run_id,
        step=0,
        target=target,
        group="",
        playbook="high-cpu",
        cooldown_s=1,
        rates=Rates(),
        counts=True,
    )
    return replace(request, **more)


@dataclass
class FakeAws:
    """EC2 and Auto Scaling at the HTTP edge; `broken` decides how a changing call fails."""

    desired: int = 6
    state: str = "running"
    calls: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    broken: Callable[[], tuple[int, str] | None] = lambda: None
    executes: bool = True
    # How many describe calls from now on get no answer.
    unreadable: int = 0

    def clients(self) -> Aws:
        session = boto3.Session("key", "secret", region_name="us-east-1")
        session.events.register("request-created", add_run_to_user_agent)
        session.events.register("before-send", self._answer)  # type: ignore[arg-type] # it answers
        once = Config(retries={"total_max_attempts": 1})
        return Aws(
            ec2=session.client("ec2", config=once),
            ec2_once=session.client("ec2", config=once),
            autoscaling=session.client("autoscaling", config=once),
            autoscaling_once=session.client("autoscaling", config=once),
            elbv2=session.client("elbv2", config=once),
            ssm=session.client("ssm", config=once),
            ssm_once=session.client("ssm", config=once),
            sns=session.client("sns", config=once),
            cloudtrail=session.client("cloudtrail", config=once),
            s3=session.client("s3", config=once),
        )

    def _answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        form = dict(parse_qsl(str(request.body)))
        operation = form["Action"]
        self.calls.append(operation)
        self.agents.append(str(request.headers["User-Agent"]))
        if operation in {"RebootInstances", "SetDesiredCapacity"}:
            if self.executes and operation == "SetDesiredCapacity":
                self.desired = int(form["DesiredCapacity"])
            failure = self.broken()
            if failure is not None:
                status, code = failure
                body = (
                    f"<Response><Errors><Error><Code>{code}</Code></Error></Errors></Response>"
                    if operation == "RebootInstances"
                    else f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
                )
                return _response(request.url, status, body)
        elif self.unreadable:
            self.unreadable -= 1
            raise ReadTimeoutError(endpoint_url=request.url)
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        return _response(request.url, 200, getattr(self, f"_{name}")())

    def _reboot_instances(self) -> str:
        body = "<return>true</return>"
        return f'<RebootInstancesResponse xmlns="{_EC2}">{body}</RebootInstancesResponse>'

    def _set_desired_capacity(self) -> str:
        return f'<SetDesiredCapacityResponse xmlns="{_ASG}"/>'

    def _describe_instances(self) -> str:
        return (
            f'<DescribeInstancesResponse xmlns="{_EC2}"><reservationSet><item><instancesSet><item>'
            f"<instanceId>{HOST}</instanceId><instanceState><name>{self.state}</name>"
            "</instanceState><launchTime>2026-01-01T00:00:00Z</launchTime><placement>"
            "<availabilityZone>us-east-1a</availabilityZone></placement></item></instancesSet>"
            "</item></reservationSet></DescribeInstancesResponse>"
        )

    def _describe_auto_scaling_groups(self) -> str:
        return (
            f'<DescribeAutoScalingGroupsResponse xmlns="{_ASG}"><DescribeAutoScalingGroupsResult>'
            "<AutoScalingGroups><member><AutoScalingGroupName>web</AutoScalingGroupName>"
            f"<MinSize>4</MinSize><MaxSize>12</MaxSize><DesiredCapacity>{self.desired}"
            "</DesiredCapacity><Instances/><TargetGroupARNs/><SuspendedProcesses/><Tags/></member>"
            "</AutoScalingGroups></DescribeAutoScalingGroupsResult>"
            "</DescribeAutoScalingGroupsResponse>"
        )


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> list[bytes]:
        return [self._body]


def _response(url: str, status: int, body: str) -> AWSResponse:
    return AWSResponse(url, status, HTTPHeaders(), _Raw(body.encode()))
