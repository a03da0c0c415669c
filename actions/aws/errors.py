"""Classifies errors of AWS: whether the call changed anything, and whether to try again."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)

# The errors that a call through boto3 raises.
AWS_ERRORS = (ClientError, BotoCoreError)
# Errors of requests that certainly never reached the service.
_NEVER_SENT = (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)
_SERVER_ERROR = 500
# EC2 sends these with a 503 although it did nothing.
_THROTTLED = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"}
)
# The call changed nothing, and may succeed when repeated.
TRANSIENT = frozenset(
    {
        "ConnectTimeoutError",
        "EndpointConnectionError",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ResourceContention",
        "ScalingActivityInProgress",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "Unavailable",
    }
)
# The role lacks a permission, so the call changed nothing; a heavier step would fail as well.
NOT_AUTHORIZED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "NoCredentialsError",
        "OptInRequired",
        "PartialCredentialsError",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)


def classify(error: ClientError | BotoCoreError) -> tuple[str, bool]:
    """The error's name, and whether it proves that the call changed nothing."""
    if not isinstance(error, ClientError):
        return type(error).__name__, isinstance(error, _NEVER_SENT)
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", _SERVER_ERROR)
    return code, status < _SERVER_ERROR or code in _THROTTLED
