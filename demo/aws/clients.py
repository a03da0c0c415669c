"""boto3 clients whose HTTP session is a WSGI application of this process."""

import copy
import functools
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from actions.aws.client_set import Aws, add_run_to_user_agent
from demo.aws.faults import DroppedError
from demo.aws.world import REGION

WsgiApp = Callable[..., Iterable[bytes]]


def clients(app: WsgiApp, key: str = "emulated") -> Aws:
    """The clients of the program, each with one attempt: a virtual clock waits for no retry."""
    by_name: dict[str, Any] = {}
    for name, template in _templates(key).items():
        # copy.copy would ask the client's __getattr__, which needs a whole client.
        client = object.__new__(type(template))
        endpoint = copy.copy(template._endpoint)
        endpoint.http_session = _WsgiSession(app)
        client.__dict__ |= vars(template) | {"_endpoint": endpoint}
        by_name[name] = client
    return Aws(**by_name)


@functools.cache
def _templates(key: str) -> Mapping[str, Any]:
    """Made once: that takes longer than a test."""
    session = boto3.Session(key, "secret", region_name=REGION)
    session.events.register("request-created", add_run_to_user_agent)
    once = Config(retries={"total_max_attempts": 1})
    make: Any = session.client
    return {
        name: make(name.removesuffix("_once").replace("_", "-"), config=once)
        for name in Aws.names()
    }


class _Raw(io.BytesIO):
    def stream(self) -> Iterable[bytes]:
        yield self.read()


@dataclass
class _WsgiSession:
    """In place of botocore's HTTP session, without a socket."""

    app: WsgiApp

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        url, body = urlsplit(request.url), _bytes(request.body)
        environ = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        sent: Any = request.headers
        for name, value in sent.items():
            text = value.decode() if isinstance(value, bytes) else str(value)
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = text
        started: list[Any] = []
        try:
            content = b"".join(self.app(environ, lambda *answer: started.extend(answer)))
        except DroppedError:
            raise ConnectionClosedError(endpoint_url=request.url) from None
        headers = HTTPHeaders()
        for name, value in started[1]:
            headers[name] = value
        return AWSResponse(request.url, int(started[0].split()[0]), headers, _Raw(content))

    def close(self) -> None:
        """There is no connection."""


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body or b"")
