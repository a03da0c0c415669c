"""Who made a call, as CloudTrail's events tell it."""

from typing import Any

import pytest

from actions.aws.trail import Caller, caller_of

_ADMIN = "arn:aws:iam::1:role/Admin"


def _assumed(role: str, session: str, **context: Any) -> dict[str, Any]:
    issuer = {"type": "Role", "arn": f"arn:aws:iam::1:role/{role}"}
    return {
        "type": "AssumedRole",
        "principalId": f"AROA:{session}",
        "arn": f"arn:aws:sts::1:assumed-role/{role}/{session}",
        "sessionContext": {"sessionIssuer": issuer, **context},
    }


_EKS = {"federatedProvider": "arn:aws:iam::1:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/A"}
_HUB = {"federatedProvider": "arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com"}
_TERRAFORM = "APN/1.0 HashiCorp/1.0 Terraform/1.9.5 (+https://www.terraform.io) aws-sdk-go-v2/1.30"


@pytest.mark.parametrize(
    ("identity", "agent", "caller"),
    [
        ({"type": "IAMUser", "arn": "arn:aws:iam::1:user/alice"}, "aws-cli/2.17", Caller.PERSON),
        (_assumed("Admin", "jenkins@example.org"), "AWS Internal", Caller.PERSON),
        ({}, "", Caller.PERSON),
        ({"type": "IAMUser", "arn": "arn:aws:iam::1:user/alice"}, _TERRAFORM, Caller.PROGRAM),
        (_assumed("terraform-apply", "alice"), "aws-cli", Caller.PROGRAM),
        ({"type": "IAMUser", "arn": "arn:aws:iam::1:user/ci/jenkins"}, "Boto3", Caller.PROGRAM),
        (_assumed("web", "i-0123456789abcdef0"), "Boto3", Caller.PROGRAM),
        (_assumed("web", "x", ec2RoleDelivery="2.0"), "Boto3", Caller.PROGRAM),
        (_assumed("keeper", "x", webIdFederationData=_EKS), "aws-sdk-go", Caller.PROGRAM),
        (_assumed("deploy", "x", webIdFederationData=_HUB), "aws-sdk-go", Caller.PROGRAM),
        (
            {**_assumed("Admin", "alice"), "invokedBy": "cloudformation.amazonaws.com"},
            "cloudformation.amazonaws.com",
            Caller.PROGRAM,
        ),
        ({"type": "AWSService"}, "autoscaling.amazonaws.com", Caller.AWS),
        (_assumed("AWSServiceRoleForAutoScaling", "AutoScaling"), "x", Caller.AWS),
        (_assumed("smartcloudops", "s"), "Boto3/1.4 smartcloudops-run/01ABC", Caller.OWN),
        (_assumed("night-shift", "cron"), "Boto3", Caller.PROGRAM),
    ],
)
def test_people_are_told_from_programs(
    identity: dict[str, Any], agent: str, caller: Caller
) -> None:
    """By the agent, the role, the provider of the identity, and the patterns that a user gives."""
    event = {"userIdentity": identity, "userAgent": agent}
    assert caller_of(event, ("arn:aws:iam::1:role/night-*",)) is caller
