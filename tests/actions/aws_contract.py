"""What each call of the catalogue may answer, reviewed by a person: states, and errors.

A member that a new SDK adds is not here, and so fails a test. It is added with what the guide says
of it, after a look at the code that reads it.
"""

from collections.abc import Mapping
from enum import StrEnum

from actions.aws.causes import Cause
from actions.base import Progress


class Lifecycle(StrEnum):
    """What a member's lifecycle state means."""

    SERVES = "it serves"
    COMES = "it does not serve yet"
    STANDS_BY = "its group left it alone"
    LEAVES = "it will be gone"
    GONE = "it is gone"
    REPAIRED = "its root volume is replaced, and it serves again"
    WARM = "it waits in the warm pool, and serves nothing"


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/replace-root-volume.html
LIFECYCLE: Mapping[str, Lifecycle] = {
    "Pending": Lifecycle.COMES,
    "Pending:Wait": Lifecycle.COMES,
    "Pending:Proceed": Lifecycle.COMES,
    # No longer in use, says the API reference.
    "Quarantined": Lifecycle.LEAVES,
    "InService": Lifecycle.SERVES,
    "Terminating": Lifecycle.LEAVES,
    "Terminating:Wait": Lifecycle.LEAVES,
    "Terminating:Proceed": Lifecycle.LEAVES,
    "Terminating:Retained": Lifecycle.LEAVES,
    "Terminated": Lifecycle.GONE,
    "Detaching": Lifecycle.LEAVES,
    "Detached": Lifecycle.GONE,
    "EnteringStandby": Lifecycle.STANDS_BY,
    "Standby": Lifecycle.STANDS_BY,
    "ReplacingRootVolume": Lifecycle.REPAIRED,
    "ReplacingRootVolume:Wait": Lifecycle.REPAIRED,
    "ReplacingRootVolume:Proceed": Lifecycle.REPAIRED,
    "RootVolumeReplaced": Lifecycle.REPAIRED,
    "Warmed:Pending": Lifecycle.WARM,
    "Warmed:Pending:Wait": Lifecycle.WARM,
    "Warmed:Pending:Proceed": Lifecycle.WARM,
    "Warmed:Pending:Retained": Lifecycle.WARM,
    "Warmed:Terminating": Lifecycle.WARM,
    "Warmed:Terminating:Wait": Lifecycle.WARM,
    "Warmed:Terminating:Proceed": Lifecycle.WARM,
    "Warmed:Terminating:Retained": Lifecycle.WARM,
    "Warmed:Terminated": Lifecycle.WARM,
    "Warmed:Stopped": Lifecycle.WARM,
    "Warmed:Running": Lifecycle.WARM,
    "Warmed:Hibernated": Lifecycle.WARM,
}


class Power(StrEnum):
    """What an instance's state means."""

    ON = "it runs, or will"
    OFF = "it is stopped, or will be"
    GONE = "it is gone for ever"


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
INSTANCE_STATES: Mapping[str, Power] = {
    "pending": Power.ON,
    "running": Power.ON,
    "stopping": Power.OFF,
    "stopped": Power.OFF,
    "shutting-down": Power.GONE,
    "terminated": Power.GONE,
}

# Whether a status check has found a fault.
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusSummary.html
CHECKS: Mapping[str, bool] = {
    "ok": False,
    "impaired": True,
    "initializing": False,
    "insufficient-data": False,
    "not-applicable": False,
}

# Whether a target gets requests, and whether it is registered.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
TARGET_STATES: Mapping[str, tuple[bool, bool]] = {
    "initial": (False, True),
    "healthy": (True, True),
    "unhealthy": (False, True),
    # Of network load balancers: unhealthy, and its open connections end after the delay.
    "unhealthy.draining": (False, True),
    # Registered unless its reason is Target.NotRegistered.
    "unused": (False, True),
    "draining": (False, False),
    # Its health checks are disabled: it gets requests.
    "unavailable": (True, True),
}
# The state that a reason comes with, and whether the target is registered and its group in use.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
TARGET_REASONS: Mapping[str, tuple[str, bool, bool]] = {
    "Elb.RegistrationInProgress": ("initial", True, True),
    "Elb.InitialHealthChecking": ("initial", True, True),
    "Elb.InternalError": ("unhealthy", True, True),
    "Target.ResponseCodeMismatch": ("unhealthy", True, True),
    "Target.Timeout": ("unhealthy", True, True),
    "Target.FailedHealthChecks": ("unhealthy", True, True),
    "Target.NotRegistered": ("unused", False, True),
    "Target.NotInUse": ("unused", True, False),
    "Target.InvalidState": ("unused", True, True),
    "Target.IpUnusable": ("unused", True, True),
    "Target.DeregistrationInProgress": ("draining", False, True),
    "Target.HealthCheckDisabled": ("unavailable", True, True),
}
# A function or another load balancer is no instance.
TARGET_TYPES = frozenset({"instance", "ip", "lambda", "alb"})

# The progress of a command, by the status of its invocation.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
COMMANDS: Mapping[str, Progress] = {
    "Pending": Progress.UNDERWAY,
    "InProgress": Progress.UNDERWAY,
    "Delayed": Progress.UNDERWAY,
    "Cancelling": Progress.UNDERWAY,
    "Success": Progress.DONE,
    "Failed": Progress.FAILED,
    # Of delivery, unless the details say of execution.
    "TimedOut": Progress.NEVER_RAN,
    "Cancelled": Progress.NEVER_RAN,
}
# The same by status and details, which no model lists.
COMMAND_DETAILS: Mapping[tuple[str, str], Progress] = {
    ("Pending", "Pending"): Progress.UNDERWAY,
    ("InProgress", "InProgress"): Progress.UNDERWAY,
    ("Delayed", "Delayed"): Progress.UNDERWAY,
    ("Success", "Success"): Progress.DONE,
    ("Failed", "Failed"): Progress.FAILED,
    ("TimedOut", "DeliveryTimedOut"): Progress.NEVER_RAN,
    ("TimedOut", "Delivery Timed Out"): Progress.NEVER_RAN,
    ("TimedOut", "ExecutionTimedOut"): Progress.FAILED,
    ("TimedOut", "Execution Timed Out"): Progress.FAILED,
    ("Failed", "Undeliverable"): Progress.NEVER_RAN,
    ("Failed", "Terminated"): Progress.NEVER_RAN,
    ("Failed", "InvalidPlatform"): Progress.NEVER_RAN,
    ("Failed", "AccessDenied"): Progress.NEVER_RAN,
    ("Cancelled", "Cancelled"): Progress.NEVER_RAN,
}
# Whether the agent fetches a command now.
PINGS: Mapping[str, bool] = {"Online": True, "ConnectionLost": False, "Inactive": False}
PLATFORMS = frozenset({"Linux", "MacOS", "Windows"})

# The progress of a refresh that shall succeed.
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/check-status-instance-refresh.html
REFRESHES: Mapping[str, Progress] = {
    "Pending": Progress.UNDERWAY,
    "InProgress": Progress.UNDERWAY,
    "Baking": Progress.UNDERWAY,
    "Cancelling": Progress.UNDERWAY,
    "RollbackInProgress": Progress.UNDERWAY,
    "Successful": Progress.DONE,
    "Failed": Progress.FAILED,
    "RollbackFailed": Progress.FAILED,
    "RollbackSuccessful": Progress.FAILED,
    "Cancelled": Progress.UNKNOWN,
}

# Whether a scaling activity has ended, and how.
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html
ACTIVITIES: Mapping[str, Progress] = {
    "PendingSpotBidPlacement": Progress.UNDERWAY,
    "WaitingForSpotInstanceRequestId": Progress.UNDERWAY,
    "WaitingForSpotInstanceId": Progress.UNDERWAY,
    "WaitingForInstanceId": Progress.UNDERWAY,
    "PreInService": Progress.UNDERWAY,
    "InProgress": Progress.UNDERWAY,
    "WaitingForELBConnectionDraining": Progress.UNDERWAY,
    "MidLifecycleAction": Progress.UNDERWAY,
    "WaitingForInstanceWarmup": Progress.UNDERWAY,
    "WaitingForConnectionDraining": Progress.UNDERWAY,
    "WaitingForInPlaceUpdateToStart": Progress.UNDERWAY,
    "WaitingForInPlaceUpdateToFinalize": Progress.UNDERWAY,
    "InPlaceUpdateInProgress": Progress.UNDERWAY,
    "Successful": Progress.DONE,
    "Failed": Progress.FAILED,
    "Cancelled": Progress.NEVER_RAN,
}

# The modelled errors of each call that the catalogue, the archive and the checks make.
_CONTENTION = ("ResourceContention",)
_REFRESH = (*_CONTENTION, "LimitExceeded")
_INSTANCES = ("InternalServerError", "InvalidInstanceId")
_ZONAL_SHIFT = (
    "AccessDeniedException",
    "InternalServerException",
    "ResourceNotFoundException",
    "ThrottlingException",
    "ValidationException",
)
OPERATIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "arc-zonal-shift": {
        "CancelZonalShift": (*_ZONAL_SHIFT, "ConflictException"),
        "GetManagedResource": _ZONAL_SHIFT,
        "StartZonalShift": (*_ZONAL_SHIFT, "ConflictException"),
    },
    "autoscaling": {
        "AttachInstances": (*_CONTENTION, "ServiceLinkedRoleFailure"),
        "CancelInstanceRefresh": (*_REFRESH, "ActiveInstanceRefreshNotFound"),
        "DescribeAutoScalingGroups": (*_CONTENTION, "InvalidNextToken"),
        "DescribeLifecycleHooks": _CONTENTION,
        "DescribeScalingActivities": (*_CONTENTION, "InvalidNextToken"),
        "DescribeInstanceRefreshes": (*_CONTENTION, "InvalidNextToken"),
        "DetachInstances": _CONTENTION,
        "EnterStandby": _CONTENTION,
        "ExitStandby": _CONTENTION,
        "ResumeProcesses": (*_CONTENTION, "ResourceInUse"),
        "RollbackInstanceRefresh": (
            *_REFRESH,
            "ActiveInstanceRefreshNotFound",
            "IrreversibleInstanceRefresh",
        ),
        "SetDesiredCapacity": (*_CONTENTION, "ScalingActivityInProgress"),
        "SetInstanceHealth": _CONTENTION,
        "StartInstanceRefresh": (*_REFRESH, "InstanceRefreshInProgress"),
        "SuspendProcesses": (*_CONTENTION, "ResourceInUse"),
        "TerminateInstanceInAutoScalingGroup": (*_CONTENTION, "ScalingActivityInProgress"),
    },
    "cloudtrail": {
        "LookupEvents": (
            "InvalidEventCategoryException",
            "InvalidLookupAttributesException",
            "InvalidMaxResultsException",
            "InvalidNextTokenException",
            "InvalidTimeRangeException",
            "OperationNotPermittedException",
            "UnsupportedOperationException",
        ),
    },
    # EC2's model has no errors; `EC2_ERRORS` are from its guide.
    "ec2": dict.fromkeys(
        (
            "CreateSnapshot",
            "CreateTags",
            "DeleteTags",
            "DescribeInstanceAttribute",
            "DescribeAvailabilityZones",
            "DescribeInstanceStatus",
            "DescribeInstances",
            "DescribeNetworkInterfaces",
            "DescribeSecurityGroups",
            "GetConsoleOutput",
            "GetConsoleScreenshot",
            "DescribeSnapshots",
            "DescribeSpotInstanceRequests",
            "DescribeVolumeStatus",
            "DescribeVolumes",
            "ModifyNetworkInterfaceAttribute",
            "RebootInstances",
            "StartInstances",
            "StopInstances",
        ),
        (),
    ),
    "elbv2": {
        "DeregisterTargets": ("InvalidTarget", "TargetGroupNotFound"),
        "DescribeRules": ("ListenerNotFound", "RuleNotFound", "UnsupportedProtocol"),
        "DescribeTargetGroupAttributes": ("TargetGroupNotFound",),
        "DescribeTargetGroups": ("LoadBalancerNotFound", "TargetGroupNotFound"),
        "DescribeTargetHealth": ("HealthUnavailable", "InvalidTarget", "TargetGroupNotFound"),
        "ModifyRule": (
            "IncompatibleProtocols",
            "InvalidLoadBalancerAction",
            "OperationNotPermitted",
            "RuleNotFound",
            "TargetGroupAssociationLimit",
            "TargetGroupNotFound",
            "TooManyActions",
            "TooManyRegistrationsForTargetId",
            "TooManyTargets",
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            "UnsupportedProtocol",
        ),
        "RegisterTargets": (
            "InvalidTarget",
            "TargetGroupNotFound",
            "TooManyRegistrationsForTargetId",
            "TooManyTargets",
        ),
    },
    "iam": {
        "GetRole": ("NoSuchEntity", "ServiceFailure"),
        "SimulatePrincipalPolicy": ("InvalidInput", "NoSuchEntity", "PolicyEvaluation"),
    },
    "s3": {
        "GetObject": ("InvalidObjectState", "NoSuchKey"),
        "ListObjectsV2": ("NoSuchBucket",),
        "PutObject": (
            "EncryptionTypeMismatch",
            "InvalidRequest",
            "InvalidWriteOffset",
            "TooManyParts",
        ),
    },
    "sns": {
        "ConfirmSubscription": (
            "AuthorizationError",
            "FilterPolicyLimitExceeded",
            "InternalError",
            "InvalidParameter",
            "NotFound",
            "ReplayLimitExceeded",
            "SubscriptionLimitExceeded",
        ),
        "Publish": (
            "AuthorizationError",
            "EndpointDisabled",
            "InternalError",
            "InvalidParameter",
            "InvalidSecurity",
            "KMSAccessDenied",
            "KMSDisabled",
            "KMSInvalidState",
            "KMSNotFound",
            "KMSOptInRequired",
            "KMSThrottling",
            "NotFound",
            "ParameterValueInvalid",
            "PlatformApplicationDisabled",
            "ValidationException",
        ),
    },
    "ssm": {
        "DescribeInstanceInformation": (
            *_INSTANCES,
            "InvalidFilterKey",
            "InvalidInstanceInformationFilterValue",
            "InvalidNextToken",
        ),
        "DescribeSessions": ("InternalServerError", "InvalidFilterKey", "InvalidNextToken"),
        "GetCalendarState": (
            "InternalServerError",
            "InvalidDocument",
            "InvalidDocumentType",
            "UnsupportedCalendarException",
        ),
        "GetCommandInvocation": (
            *_INSTANCES,
            "InvalidCommandId",
            "InvalidPluginName",
            "InvocationDoesNotExist",
        ),
        "ListCommandInvocations": (
            *_INSTANCES,
            "InvalidCommandId",
            "InvalidFilterKey",
            "InvalidNextToken",
        ),
        "ListCommands": (
            *_INSTANCES,
            "InvalidCommandId",
            "InvalidFilterKey",
            "InvalidNextToken",
        ),
        "CancelCommand": (*_INSTANCES, "DuplicateInstanceId", "InvalidCommandId"),
        "SendCommand": (
            *_INSTANCES,
            "DuplicateInstanceId",
            "InvalidDocument",
            "InvalidDocumentVersion",
            "InvalidNotificationConfig",
            "InvalidOutputFolder",
            "InvalidParameters",
            "InvalidRole",
            "MaxDocumentSizeExceeded",
            "UnsupportedPlatformType",
        ),
    },
    "sts": {"GetCallerIdentity": ()},
}
# What a modelled error says of a call; any other one is a wrong request.
CAUSES: Mapping[str, Cause] = {
    **dict.fromkeys(
        (
            "HealthUnavailable",
            "InternalError",
            "InternalServerError",
            "InternalServerException",
            "KMSThrottling",
            "PolicyEvaluation",
            "ResourceContention",
            "ResourceInUse",
            "ScalingActivityInProgress",
            "ServiceFailure",
            "ServiceLinkedRoleFailure",
            "ThrottlingException",
        ),
        Cause.PASSING,
    ),
    **dict.fromkeys(
        (
            "AccessDeniedException",
            "AuthorizationError",
            "InvalidSecurity",
            "KMSAccessDenied",
            "KMSOptInRequired",
        ),
        Cause.ACCESS,
    ),
    **dict.fromkeys(
        (
            "LimitExceeded",
            "TargetGroupAssociationLimit",
            "TooManyActions",
            "TooManyParts",
            "TooManyRegistrationsForTargetId",
            "TooManyTargets",
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            "FilterPolicyLimitExceeded",
            "ReplayLimitExceeded",
            "SubscriptionLimitExceeded",
        ),
        Cause.QUOTA,
    ),
    **dict.fromkeys(
        (
            "ActiveInstanceRefreshNotFound",
            "ConflictException",
            "EndpointDisabled",
            "InstanceRefreshInProgress",
            "InvalidInstanceId",
            "InvalidTarget",
            "IrreversibleInstanceRefresh",
            "KMSDisabled",
            "KMSInvalidState",
            "OperationNotPermitted",
            "OperationNotPermittedException",
            "PlatformApplicationDisabled",
            "UnsupportedOperationException",
        ),
        Cause.STATE,
    ),
    # Of an object in an archive tier.
    "InvalidObjectState": Cause.ACCESS,
}
# Server errors that may hide a change. The others with a server error's status are the caller's
# fault, by their model: AWS did nothing.
MAY_HIDE_A_CHANGE = frozenset(
    {
        "HealthUnavailable",
        "InternalError",
        "InternalServerError",
        "InternalServerException",
        "PolicyEvaluation",
        "ServiceFailure",
    }
)
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
EC2_ERRORS: Mapping[str, Cause] = {
    "ConcurrentSnapshotLimitExceeded": Cause.QUOTA,
    "IncorrectInstanceState": Cause.STATE,
    "IncorrectState": Cause.STATE,
    "InsufficientInstanceCapacity": Cause.QUOTA,
    "InvalidGroup.NotFound": Cause.REQUEST,
    "InvalidInstanceID.Malformed": Cause.REQUEST,
    "InvalidInstanceID.NotFound": Cause.REQUEST,
    "InvalidNetworkInterfaceID.NotFound": Cause.REQUEST,
    "InvalidParameterValue": Cause.REQUEST,
    "OperationNotPermitted": Cause.STATE,
    "RequestLimitExceeded": Cause.PASSING,
    "SnapshotCreationPerVolumeRateExceeded": Cause.PASSING,
    "SnapshotLimitExceeded": Cause.QUOTA,
    "UnsupportedOperation": Cause.STATE,
    "VcpuLimitExceeded": Cause.QUOTA,
}
