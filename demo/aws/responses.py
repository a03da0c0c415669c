"""The emulated AWS's answers over WSGI; errors have the form of each service's protocol."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from demo.aws.calls import Call

WsgiApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Answer: TypeAlias = tuple[str, Sequence[tuple[str, str]], bytes]
JSON = "application/x-amz-json-1.1"
XML = "text/xml"
_XML_SERVICES = frozenset({"autoscaling", "elbv2", "sts", "iam", "sns"})


def success(text: str, content_type: str) -> Answer:
    body = text.encode()
    return "200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))], body


def call_app(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    """Call a WSGI application and collect its whole answer."""
    started: list[tuple[str, Sequence[tuple[str, str]]]] = []

    def start_response(status: str, headers: Sequence[tuple[str, str]], *_: object) -> None:
        started.append((status, headers))

    body = b"".join(app(environ, start_response))
    status, headers = started[-1]
    return status, headers, body


def send_error(
    call: Call, start_response: Callable[..., Any], status: int, code: str, message: str
) -> Iterable[bytes]:
    """Send an error in the form of the service's protocol."""
    code, message = escape(code), escape(message)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    if call.service == "ec2":
        body = (
            f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>0</RequestID></Response>"
        )
    elif call.service in _XML_SERVICES:
        body = f"<ErrorResponse><Error>{inner}</Error><RequestId>0</RequestId></ErrorResponse>"
    else:
        body = json.dumps({"__type": code, "message": message})
    content_type = JSON if body.startswith("{") else XML
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    raw = body.encode()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(raw)))]
    start_response(f"{status} {phrase}", headers)
    return [raw]


def drop_connection(
    environ: Mapping[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Close the connection without an answer; later writes do not reach the client."""
    connection = environ["werkzeug.socket"]
    with suppress(OSError):
        connection.shutdown(2)
    start_response("500 Dropped", [("Content-Length", "0"), ("Connection", "close")])
    return []
