"""AWS as it can be told of the past: clients of the emulated AWS, filled from what is on record.

They answer in process as boto3's clients do, and need none of the demo's packages.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from demo.aws.core import Core
from demo.aws.services.autoscaling import AutoScaling
from demo.aws.services.ebs import Volumes
from demo.aws.services.ec2 import Instances
from demo.aws.services.elbv2 import Balancers
from demo.aws.services.groups import Groups
from demo.aws.services.instance_refresh import InstanceRefreshes
from demo.aws.services.instance_status import InstanceStatuses
from demo.aws.services.ssm import Commands
from demo.aws.services.vpc import Networks
from demo.aws.services.zonal_shift import ZonalShifts
from demo.aws.world import AwsError, SecurityGroup, World

# The security group of `quarantine_instance`.
_ISOLATION = SecurityGroup("sg-0123456789abcdef0", name="smartcloudops-isolation")
_EVENTS_A_PAGE = 50


@dataclass
class PastAws:
    """An AWS in which each call succeeds at once and is forgotten at the next moment.

    `changes` are CloudTrail's events, each with its `EventTime` in epoch seconds under `at`.
    """

    clock: Callable[[], float]
    changes: Sequence[Mapping[str, Any]] = ()
    core: Core = field(init=False)

    def __post_init__(self) -> None:
        self.core = Core(self.clock)
        balancers = Balancers(self.core)
        groups = Groups(self.core, balancers)
        self._services: Mapping[str, Sequence[Any]] = {
            "autoscaling": (AutoScaling(self.core, groups), InstanceRefreshes(self.core, groups)),
            "ec2": (
                Instances(self.core),
                InstanceStatuses(self.core),
                Volumes(self.core),
                Networks(self.core),
            ),
            "elbv2": (balancers,),
            "ssm": (Commands(self.core), self),
            "arc_zonal_shift": (ZonalShifts(self.core),),
            "cloudtrail": (self,),
            "sns": (self,),
            "s3": (self,),
        }

    def clients(self) -> Aws:
        made = {
            name: _Client(self.core, self._services[name.removesuffix("_once")])
            for name in Aws.names()
        }
        return Aws(**cast("dict[str, Any]", made))

    def become(self, world: World) -> None:
        """Forget what was called, and show this world from now on."""
        self.core.start_over()
        world.security_groups[_ISOLATION.id] = _ISOLATION
        self.core.world = world

    # The only operations of CloudTrail, change calendars and SNS.
    def lookup_events(self, request: Mapping[str, Any]) -> dict[str, Any]:
        since, now = request["StartTime"].timestamp(), self.clock()
        wanted = {one["AttributeKey"]: one["AttributeValue"] for one in request["LookupAttributes"]}
        name = wanted.get("ResourceName")
        found = [
            dict(event)
            for event in self.changes
            if since <= event["at"] <= now and (name is None or name in str(event))
        ]
        first = int(request.get("NextToken") or 0)
        most = int(request.get("MaxResults", _EVENTS_A_PAGE))
        more = {"NextToken": str(first + most)} if len(found) > first + most else {}
        return {"Events": found[first : first + most], **more}

    def get_calendar_state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Nobody tells what a change calendar had in the past: it is taken to have been open."""
        del request
        return {"State": "OPEN"}

    def publish(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del request
        return {"MessageId": "none"}


@dataclass(frozen=True)
class _Client:
    """In place of a boto3 client: its operations are those of the emulated services."""

    core: Core
    services: Sequence[Any]

    @property
    def exceptions(self) -> "_Exceptions":
        return _Exceptions()

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        handler = next(
            (found for one in self.services if (found := getattr(one, operation, None))), None
        )
        if handler is None:
            raise AttributeError(operation)

        def call(**request: Any) -> dict[str, Any]:
            self.core.tick()
            try:
                return handler(request) or {}
            except AwsError as error:
                told = {"Code": error.code, "Message": str(error)}
                response: Any = {
                    "Error": told,
                    "ResponseMetadata": {"HTTPStatusCode": error.status},
                }
                raise _error_class(error.code)(response, operation) from None

        return call

    def get_paginator(self, operation: str) -> "_Paginator":
        return _Paginator(getattr(self, operation))


@dataclass(frozen=True)
class _Paginator:
    call: Callable[..., dict[str, Any]]

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        request.pop("PaginationConfig", None)
        while True:
            answer = self.call(**request)
            yield answer
            if not answer.get("NextToken"):
                return
            request["NextToken"] = answer["NextToken"]


class _Exceptions:
    """The exception classes of a client, by AWS's code; `ClientError` is that of all codes."""

    def __getattr__(self, code: str) -> type[ClientError]:
        return ClientError if code == ClientError.__name__ else _error_class(code)


@cache
def _error_class(code: str) -> type[ClientError]:
    return type(code.replace(".", "_"), (ClientError,), {})
