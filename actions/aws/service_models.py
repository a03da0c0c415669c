"""botocore's service models, loaded once for all accounts, and with what is called alone.

EC2's model describes 760 operations in 30 MB; each session of botocore would load its own, and each
client would have a method for each operation.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from botocore.loaders import Loader
from botocore.session import Session

# All that this package calls in a place. A call of another operation raises AttributeError.
OPERATIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "arc-zonal-shift": frozenset(
            {
                "CancelZonalShift",
                "GetManagedResource",
                "StartZonalShift",
            }
        ),
        "autoscaling": frozenset(
            {
                "AttachInstances",
                "CancelInstanceRefresh",
                "DescribeAutoScalingGroups",
                "DescribeInstanceRefreshes",
                "DescribeLifecycleHooks",
                "DescribeScalingActivities",
                "DetachInstances",
                "EnterStandby",
                "ExitStandby",
                "ResumeProcesses",
                "RollbackInstanceRefresh",
                "SetDesiredCapacity",
                "SetInstanceHealth",
                "StartInstanceRefresh",
                "SuspendProcesses",
                "TerminateInstanceInAutoScalingGroup",
            }
        ),
        "cloudtrail": frozenset(
            {
                "LookupEvents",
            }
        ),
        "ec2": frozenset(
            {
                "CreateSnapshot",
                "CreateTags",
                "DeleteTags",
                "DescribeAvailabilityZones",
                "DescribeInstanceAttribute",
                "DescribeInstanceStatus",
                "DescribeInstances",
                "DescribeNetworkInterfaces",
                "DescribeSecurityGroups",
                "DescribeSnapshots",
                "DescribeSpotInstanceRequests",
                "DescribeVolumeStatus",
                "DescribeVolumes",
                "GetConsoleOutput",
                "GetConsoleScreenshot",
                "ModifyNetworkInterfaceAttribute",
                "RebootInstances",
                "StartInstances",
                "StopInstances",
            }
        ),
        "elbv2": frozenset(
            {
                "DeregisterTargets",
                "DescribeRules",
                "DescribeTargetGroupAttributes",
                "DescribeTargetGroups",
                "DescribeTargetHealth",
                "ModifyRule",
                "RegisterTargets",
            }
        ),
        "ssm": frozenset(
            {
                "CancelCommand",
                "DescribeInstanceInformation",
                "DescribeSessions",
                "GetCalendarState",
                "GetCommandInvocation",
                "ListCommandInvocations",
                "ListCommands",
                "SendCommand",
            }
        ),
    }
)


def new_session() -> Session:
    """A session of botocore that shares its models with all others of this function."""
    session = Session()
    session.register_component("data_loader", _shared(session.get_config_variable("data_path")))
    return session


@cache
def _shared(path: str | None) -> "_SharedLoader":
    return _SharedLoader(extra_search_paths=path.split(":") if path else None)


class _SharedLoader(Loader):
    """As botocore's own, but that a service of `OPERATIONS` has these alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._models: dict[str, Mapping[str, Any]] = {}

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        if type_name != "service-2" or service_name not in OPERATIONS:
            return super().load_service_model(service_name, type_name, api_version)
        if service_name not in self._models:
            # Another loader's cache has the whole, for as long as it takes.
            whole = Loader(extra_search_paths=self.search_paths)
            model = whole.load_service_model(service_name, type_name, api_version)
            self._models[service_name] = _reduced(model, OPERATIONS[service_name])
        return self._models[service_name]


def _reduced(model: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """The model with these operations, and the shapes that they refer to."""
    operations = {name: model["operations"][name] for name in sorted(names)}
    shapes: dict[str, Any] = {}
    left = list(_references(operations))
    while left:
        name = left.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            left += _references(shapes[name])
    return {**model, "operations": operations, "shapes": shapes}


def _references(part: object) -> Iterator[str]:
    """The names of the shapes to which a part of a model refers."""
    if isinstance(part, Mapping):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)
