"""What a call that surely did nothing says about the next one, by the error's name."""

# Nothing was done, and the same call may be answered in a moment.
PASSING = frozenset(
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
# Nothing was done, and nothing else may be either: heavier steps are no answer to a missing right.
UNENTITLED = frozenset(
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
