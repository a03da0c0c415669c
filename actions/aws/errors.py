"""Classifies errors of AWS: whether the call changed anything, why not, and whether it may later.

Throttling and transient errors are those of botocore's own retries, by class, code and HTTP status.
"""

import re
from dataclasses import replace

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 botocore's own
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError
from botocore.retries.standard import (
    RetryContext,
    ThrottledRetryableChecker,
    TransientRetryableChecker,
)

from actions.aws.call_budgets import CallBudgetError
from actions.aws.causes import Cause, Failure
from actions.aws.target_errors import PartlyDoneError

# The errors that a call through boto3 raises; the last one where what answers is no AWS, as a load
# balancer or a proxy in front of it. botocore has no common class for it.
AWS_ERRORS = (ClientError, BotoCoreError, ResponseParserError)
# Errors after which the request may have reached the service; botocore raises all others before.
_MAY_BE_SENT = (HTTPClientError, IncompleteReadError, ResponseParserError, SSLError)
# How a TLS handshake fails, in OpenSSL's words: before a request is sent. Any other error of TLS
# may be of a broken answer.
_HANDSHAKE_FAILED = ("certificate verify failed", "handshake failure", "wrong version number")
# Errors of the connection itself: nothing was sent.
_NOT_CONNECTED = (
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)
_PASSING = (
    CallBudgetError,
    ConnectionError,
    HTTPClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    ResponseParserError,
)
_NO_ACCESS = (NoCredentialsError, PartialCredentialsError, UnauthorizedSSOTokenError)
_SERVER_ERROR, _TOO_MANY = 500, 429
_FORBIDDEN = frozenset({401, 403})
_THROTTLED, _TRANSIENT = ThrottledRetryableChecker(), TransientRetryableChecker()
# The target is busy with another change, so the call changed nothing. AWS names no category for
# these, and its models give some of them the status 500 as faults of the sender.
_BUSY = re.compile(
    r"ResourceContention|ResourceInUse|ScalingActivityInProgress|ServiceLinkedRoleFailure"
    r"|KMSThrottling|SnapshotCreationPerVolumeRateExceeded"
)
_AWAY = frozenset({"ServiceUnavailable", "Unavailable"})
# The role lacks a permission, so the call changed nothing; a heavier step would fail as well.
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
NOT_AUTHORIZED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "PendingVerification",
        "SignatureDoesNotMatch",
        "SubscriptionRequiredException",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_CLOCK = frozenset(
    {"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed", "InvalidSignatureTime"}
)
_NO_ACCESS_CODE = re.compile(r"AccessDenied$")
_QUOTA = re.compile(
    r"(Limit|Quota)Exceeded|^Insufficient\w*Capacity|^MaxSpotInstanceCount|^TooMany|Limit$"
)
_STATE = re.compile(
    r"^(Incorrect|Invalid|KMSInvalid)\w*State|^OperationNotPermitted|^UnsupportedOperation"
    r"|InstanceRefresh|^InvalidTarget$|^InvalidInstanceId$|Disabled$|^ConflictException$"
)


def classify(error: ClientError | BotoCoreError | ResponseParserError | PartlyDoneError) -> Failure:
    """Of what was partly done it is unknown what AWS will show."""
    if isinstance(error, PartlyDoneError):
        cause = error.error
        if isinstance(cause, AWS_ERRORS):
            return replace(classify(cause), refused=False)
        return Failure(name=str(cause), refused=False, cause=Cause.STATE)
    if not isinstance(error, ClientError):
        return Failure(
            name=type(error).__name__,
            refused=_was_not_sent(error),
            cause=_cause_before_answer(error),
        )
    code = error.response["Error"]["Code"]
    metadata = error.response["ResponseMetadata"]
    status = metadata.get("HTTPStatusCode", _SERVER_ERROR)
    context = RetryContext(
        1,
        parsed_response=error.response,
        http_response=AWSResponse("", status, HTTPHeaders(), None),
    )
    throttled = status == _TOO_MANY or _THROTTLED.is_retryable(context)
    busy = throttled or _BUSY.fullmatch(code) is not None
    passing = busy or code in _AWAY or _TRANSIENT.is_retryable(context)
    # EC2 throttles with a 503 although it did nothing.
    refused = status < _SERVER_ERROR or busy
    return Failure(
        name=code,
        refused=refused,
        cause=Cause.PASSING if passing else _cause_of(code, status),
        retried=metadata.get("RetryAttempts", 0) > 0,
    )


def _was_not_sent(error: BotoCoreError | ResponseParserError) -> bool:
    if isinstance(error, SSLError) and any(words in str(error) for words in _HANDSHAKE_FAILED):
        return True
    return isinstance(error, _NOT_CONNECTED) or not isinstance(error, _MAY_BE_SENT)


def _cause_before_answer(error: BotoCoreError | ResponseParserError) -> Cause:
    if isinstance(error, _PASSING):
        return Cause.PASSING
    return Cause.ACCESS if isinstance(error, _NO_ACCESS) else Cause.REQUEST


def _cause_of(code: str, status: int) -> Cause:
    if code in _CLOCK:
        return Cause.CLOCK
    if code in NOT_AUTHORIZED or _NO_ACCESS_CODE.search(code):
        return Cause.ACCESS
    # Amazon SNS refuses what is over a quota with a 403.
    if _QUOTA.search(code):
        return Cause.QUOTA
    if status in _FORBIDDEN:
        return Cause.ACCESS
    return Cause.STATE if _STATE.search(code) else Cause.REQUEST
