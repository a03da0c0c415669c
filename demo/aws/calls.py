"""A call to the emulated AWS, read from its HTTP request."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

# The logged status of a call without an answer.
DROPPED = 0
# A credential scope is KEY/DATE/REGION/SERVICE/aws4_request.
_SERVICE, _SCOPE_PARTS = 3, 5


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call, as CloudTrail would record it.

    `session` is the run behind it, from the user agent (`smartcloudops-run/ID`). `status` is 0
    where no answer was sent.
    """

    time: float
    service: str
    operation: str
    parameters: Mapping[str, Any]
    session: str
    status: int = DROPPED


def parse_call(environ: Mapping[str, Any], body: bytes) -> Call:
    """The call of a WSGI request with this body."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    service = scope[_SERVICE] if len(scope) >= _SCOPE_PARTS else ""
    service = {"elasticloadbalancing": "elbv2"}.get(service, service)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    parameters: dict[str, Any] = {}
    if target:
        operation = target.rpartition(".")[2]
        with suppress(ValueError):
            parameters = json.loads(body or b"{}")
    else:
        parameters = dict(parse_qsl(body.decode("utf-8", "replace")))
        operation = parameters.pop("Action", "")
        parameters.pop("Version", None)
    agent = environ.get("HTTP_USER_AGENT", "")
    return Call(
        time=time.time(),
        service=service,
        operation=operation,
        parameters=parameters,
        session=agent.partition("smartcloudops-run/")[2].split(" ")[0],
    )
