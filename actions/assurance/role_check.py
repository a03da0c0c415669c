"""Permissions of the role in use that no playbook needs, by IAM's own simulation.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from actions.catalog.registry import CATALOG

# Permissions that no playbook needs and that a thief of the role would use first.
_DANGEROUS = (
    "autoscaling:DeleteAutoScalingGroup",
    "autoscaling:UpdateAutoScalingGroup",
    "cloudtrail:DeleteTrail",
    "cloudtrail:StopLogging",
    "ec2:DeleteVolume",
    "ec2:ModifyInstanceAttribute",
    "ec2:RunInstances",
    "ec2:TerminateInstances",
    "iam:AttachRolePolicy",
    "iam:CreateAccessKey",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "kms:ScheduleKeyDeletion",
    "rds:DeleteDBInstance",
    "s3:DeleteBucket",
    "ssm:StartSession",
    "sts:AssumeRole",
)
_SESSION = re.compile(r"arn:aws[a-z-]*:sts::\d{12}:assumed-role/([^/]+)/.+")
# Permissions in one request: AWS pages the results of the simulation at 100.
_AT_ONCE = 50


def find_excess(sts: Any, iam: Any, granted: Collection[str]) -> Sequence[str]:
    """Permissions that IAM gives the caller and that are not in `granted`.

    It simulates dangerous permissions, and all that any playbook could need. Raises botocore's
    errors, also where the caller may not run the simulation.
    """
    needed = {permission for action in CATALOG.values() for permission in action.permissions}
    tried = sorted({*_DANGEROUS, *needed} - set(granted))
    principal = _principal(sts.get_caller_identity()["Arn"], iam)
    allowed: list[str] = []
    for start in range(0, len(tried), _AT_ONCE):
        asked = {"PolicySourceArn": principal, "ActionNames": tried[start : start + _AT_ONCE]}
        for page in _pages(iam, asked):
            allowed += [
                result["EvalActionName"]
                for result in page["EvaluationResults"]
                if result["EvalDecision"] == "allowed"
            ]
    return sorted(allowed)


def _pages(iam: Any, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The answer's pages: IAM may page an answer of any length."""
    page = iam.simulate_principal_policy(**asked)
    yield page
    while page.get("IsTruncated"):
        page = iam.simulate_principal_policy(**asked, Marker=page["Marker"])
        yield page


def _principal(arn: str, iam: Any) -> str:
    """The role of an assumed-role session; any other ARN as it is.

    A session does not name the role's path, which its ARN has, as that of each role of IAM Identity
    Center.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    session = _SESSION.fullmatch(arn)
    return arn if session is None else str(iam.get_role(RoleName=session[1])["Role"]["Arn"])
