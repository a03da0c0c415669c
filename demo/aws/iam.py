"""What IAM says of the calls that the emulator answers in moto's place; moto asks of its own."""

from collections.abc import Mapping
from typing import Any

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.access_control import IAMRequest
from werkzeug.exceptions import HTTPException

from demo.aws.registry import REGION


def forbids(environ: Mapping[str, Any], operation: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the caller's policies do not allow the operation; never while IAM is switched off."""
    if ActionAuthenticatorMixin.request_count < settings.INITIAL_NO_AUTH_ACTION_COUNT:
        return False
    headers = {"Authorization": environ.get("HTTP_AUTHORIZATION", "")}
    try:
        asked = IAMRequest(
            account_id=DEFAULT_ACCOUNT_ID,
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            data={},
            body=b"",
            headers=headers,
            action=operation,
        )
        for one in _resources(operation, parameters):
            asked.check_action_permitted(one)
    except HTTPException:
        return True
    return False


def _resources(operation: str, parameters: Mapping[str, Any]) -> list[str]:
    """A command needs its document and each of its instances; the rest is of no one resource."""
    if operation != "SendCommand":
        return ["*"]
    where = f"{REGION}:{DEFAULT_ACCOUNT_ID}"
    instances = [f"arn:aws:ec2:{where}:instance/{one}" for one in parameters["InstanceIds"]]
    return [*instances, f"arn:aws:ssm:{where}:document/{parameters['DocumentName']}"]
