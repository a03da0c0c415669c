"""IAM's check of the calls that the emulator answers itself; moto checks its own."""

from collections.abc import Mapping
from typing import Any

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.access_control import IAMRequest
from werkzeug.exceptions import HTTPException

from demo.aws.registry import REGION


def is_denied(environ: Mapping[str, Any], operation: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the caller's policies deny the operation; always False while IAM is off."""
    if ActionAuthenticatorMixin.request_count < settings.INITIAL_NO_AUTH_ACTION_COUNT:
        return False
    headers = {"Authorization": environ.get("HTTP_AUTHORIZATION", "")}
    try:
        request = IAMRequest(
            account_id=DEFAULT_ACCOUNT_ID,
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            data={},
            body=b"",
            headers=headers,
            action=operation,
        )
        for resource in _resources(operation, parameters):
            request.check_action_permitted(resource)
    except HTTPException:
        return True
    return False


def _resources(operation: str, parameters: Mapping[str, Any]) -> list[str]:
    """A command needs its document and each of its instances; other calls name no resource."""
    if operation != "SendCommand":
        return ["*"]
    account = f"{REGION}:{DEFAULT_ACCOUNT_ID}"
    instances = [
        f"arn:aws:ec2:{account}:instance/{instance_id}" for instance_id in parameters["InstanceIds"]
    ]
    return [*instances, f"arn:aws:ssm:{account}:document/{parameters['DocumentName']}"]
