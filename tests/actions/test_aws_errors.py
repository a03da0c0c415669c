"""What the errors of AWS and botocore mean, by category: each has a cause, and a remedy."""

import inspect

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from actions.aws.causes import REMEDIES, Cause
from actions.aws.errors import NOT_AUTHORIZED, classify

# The errors after which a request may have reached AWS.
_SENT = {
    "ConnectionClosedError",
    "HTTPClientError",
    "IncompleteReadError",
    "ReadTimeoutError",
    "ResponseStreamingError",
    # For a broken record of the answer, and with other words for a handshake.
    "SSLError",
}


def _refusal(code: str, status: int = 400) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": metadata}
    return ClientError(answer, "Operation")  # type: ignore[arg-type] # without the request's id


@pytest.mark.parametrize(
    "code",
    [
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ResourceContention",
        "ResourceInUse",
        "ScalingActivityInProgress",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ],
)
def test_what_botocore_repeats_passes(code: str) -> None:
    """AWS is busy, and a refusal with 400 changed nothing."""
    failure = classify(_refusal(code))
    assert (failure.cause, failure.refused) == (Cause.PASSING, True)


def test_an_answer_that_is_no_answer_of_aws_may_hide_a_change() -> None:
    """As the page of a proxy; botocore raises it outside its own classes."""
    failure = classify(ResponseParserError())
    assert (failure.cause, failure.refused) == (Cause.PASSING, False)


@pytest.mark.parametrize(
    ("status", "refused"), [(429, True), (500, False), (502, False), (503, False)]
)
def test_an_http_status_is_a_category(status: int, *, refused: bool) -> None:
    """A server error may hide a change; too many requests may not."""
    failure = classify(_refusal("SomethingNew", status))
    assert (failure.cause, failure.refused) == (Cause.PASSING, refused)


@pytest.mark.parametrize(
    ("code", "status", "cause"),
    [
        *((code, 400, Cause.ACCESS) for code in sorted(NOT_AUTHORIZED)),
        ("SomethingNew", 403, Cause.ACCESS),
        ("RequestTimeTooSkewed", 403, Cause.CLOCK),
        ("RequestExpired", 400, Cause.CLOCK),
        ("VcpuLimitExceeded", 400, Cause.QUOTA),
        ("InsufficientInstanceCapacity", 400, Cause.QUOTA),
        ("IncorrectInstanceState", 400, Cause.STATE),
        ("OperationNotPermitted", 400, Cause.STATE),
        ("InvalidDocument", 400, Cause.REQUEST),
        ("SomethingNew", 400, Cause.REQUEST),
    ],
)
def test_any_other_refusal_has_a_remedy(code: str, status: int, cause: Cause) -> None:
    failure = classify(_refusal(code, status))
    assert (failure.cause, failure.refused) == (cause, True)
    assert REMEDIES[cause]


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, BotoCoreError)
    ],
)
def test_what_botocore_raises_before_it_sends_never_happened(kind: type[BotoCoreError]) -> None:
    """All of its errors but those of a connection that was already made."""
    error = kind.__new__(kind)
    assert classify(error).refused is (kind.__name__ not in _SENT)


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch", True),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", True),
        ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure", True),
        ("[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac", False),
        ("EOF occurred in violation of protocol (_ssl.c:2437)", False),
    ],
)
def test_without_a_handshake_nothing_was_sent(words: str, *, refused: bool) -> None:
    error = exceptions.SSLError(endpoint_url="https://ec2", error=OSError(words))
    assert classify(error).refused is refused
