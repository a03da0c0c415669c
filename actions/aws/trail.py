"""CloudTrail's events of one region, page by page, and who made the calls.

LookupEvents returns the management events of 90 days, latest first, 50 a page, at two requests a
second to all callers in a region together.
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from actions.aws.client_set import Aws

if TYPE_CHECKING:
    from types_boto3_cloudtrail.literals import LookupAttributeKeyType
    from types_boto3_cloudtrail.type_defs import EventTypeDef, LookupEventsRequestTypeDef

_PAGE, _PAUSE_S = 50, 0.5
# The user agent of this service's own calls contains it.
_OWN_CALL = re.compile(r"\bsmartcloudops-run/")
_SERVICE_LINKED = re.compile(r":(assumed-)?role/(aws-service-role/[^/]+/)?AWSServiceRoleFor\w+")
# Those by which AWS deploys or runs commands when somebody wishes it: updates of node groups and
# environments, stacks, and the tasks of maintenance windows.
# https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_MaintenanceWindowTask.html
_FOR_PEOPLE = re.compile(
    r"AWSServiceRoleFor(AmazonEKSNodegroup|AmazonSSM|CloudFormation|ElasticBeanstalk)\w*"
)
# Programs, by their user agent or by the role or user that they have. Terraform's agent:
# https://registry.terraform.io/providers/hashicorp/aws/latest/docs#user_agent
_PROGRAMS = re.compile(
    r"terraform|opentofu|pulumi|cloudformation|codedeploy|ansible|crossplane|spinnaker|karpenter|"
    r"cluster-autoscaler|atlantis|argocd|jenkins|github-?actions|gitlab-(ci|runner)|AWS_Lambda",
    re.IGNORECASE,
)
# The identity providers of programs: pods of EKS, and the pipelines of GitHub and GitLab.
_PROGRAM_PROVIDERS = re.compile(r"oidc\.eks\.|token\.actions\.githubusercontent\.com|gitlab")
_OF_INSTANCE = re.compile(r":i-[0-9a-f]{8,17}$")


class TooManyEventsError(Exception):
    """There are more pages of events than the caller reads."""


class Caller(StrEnum):
    """Who made a call. AWS acts for itself, such as an Auto Scaling group."""

    PERSON = "person"
    PROGRAM = "program"
    AWS = "aws"
    OWN = "own"


@dataclass(frozen=True)
class Span:
    """From `since` to `until`, or until now; epoch seconds."""

    since: float
    until: float | None = None


def event_pages(
    aws: Aws,
    span: Span,
    *,
    attribute: "tuple[LookupAttributeKeyType, str]" = ("ReadOnly", "false"),
    pages_max: int | None = None,
    wait: Callable[[float], object] | None = None,
) -> "Iterator[Sequence[EventTypeDef]]":
    """The events of the span that have this attribute, latest first.

    By default all that changed something. `wait` is called with the seconds between two pages.
    Raises TooManyEventsError in place of the page after `pages_max`, and botocore's errors.
    """
    key, value = attribute
    query: LookupEventsRequestTypeDef = {
        "LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}],
        "StartTime": datetime.fromtimestamp(span.since, UTC),
        "MaxResults": _PAGE,
    }
    if span.until is not None:
        query["EndTime"] = datetime.fromtimestamp(span.until, UTC)
    read = 0
    while True:
        if read == pages_max:
            raise TooManyEventsError
        answer = aws.cloudtrail.lookup_events(**query)
        read += 1
        yield answer["Events"]
        if not answer.get("NextToken"):
            return
        query["NextToken"] = answer["NextToken"]
        if wait is not None:
            wait(_PAUSE_S)


def caller_of(detail: Mapping[str, Any], programs: Sequence[str] = ()) -> Caller:
    """Who made the call of an event's `CloudTrailEvent`; one that it does not tell is a person.

    `programs` are patterns (`*`) of the ARNs of roles and users that programs have. A service that
    calls another one for a person is a program: it has the person's identity, and `invokedBy`.
    Raises TypeError or AttributeError for what is no event.
    """
    identity = detail.get("userIdentity") or {}
    session = identity.get("sessionContext") or {}
    agent, arn = detail.get("userAgent") or "", identity.get("arn") or ""
    # The name of a session is the person's own; the role and the user are not.
    role = (session.get("sessionIssuer") or {}).get("arn") or (
        arn.rpartition("/")[0] if ":assumed-role/" in arn else arn
    )
    if _OWN_CALL.search(agent):
        return Caller.OWN
    service_linked = _SERVICE_LINKED.search(arn)
    if service_linked and _FOR_PEOPLE.search(arn):
        return Caller.PROGRAM
    if identity.get("type") == "AWSService" or service_linked:
        return Caller.AWS
    provider = (session.get("webIdFederationData") or {}).get("federatedProvider") or ""
    is_program = (
        identity.get("invokedBy")
        or session.get("ec2RoleDelivery")
        or _OF_INSTANCE.search(identity.get("principalId") or "")
        or _PROGRAMS.search(agent)
        or _PROGRAMS.search(role)
        or _PROGRAM_PROVIDERS.search(provider)
        or any(fnmatchcase(name, pattern) for name in (arn, role) for pattern in programs)
    )
    return Caller.PROGRAM if is_program else Caller.PERSON
