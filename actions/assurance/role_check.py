"""What the role that is used may do beyond what it needs, by IAM's own simulation.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from actions.catalog.registry import CATALOG

# What whoever got hold of the role would like best, and no playbook ever needs.
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
_SESSION = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.+")
_AT_ONCE = 50


def find_excess(sts: Any, iam: Any, granted: Collection[str]) -> Sequence[str]:
    """Operations that IAM lets the caller do and that are not among `granted`.

    Tried are those that are dangerous, and all that any playbook could need. Raises botocore's
    errors, as where the caller may not ask.
    """
    known = {one for action in CATALOG.values() for one in action.permissions}
    asked = sorted({*_DANGEROUS, *known} - set(granted))
    principal = _principal(sts.get_caller_identity()["Arn"])
    found: list[str] = []
    for start in range(0, len(asked), _AT_ONCE):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=principal, ActionNames=asked[start : start + _AT_ONCE]
        )
        found += [
            one["EvalActionName"]
            for one in answer["EvaluationResults"]
            if one["EvalDecision"] == "allowed"
        ]
    return sorted(found)


def _principal(arn: str) -> str:
    """Of a session the role that it is of."""
    session = _SESSION.fullmatch(arn)
    if session is None:
        return arn
    partition, account, role = session.groups()
    return f"arn:{partition}:iam::{account}:role/{role}"
