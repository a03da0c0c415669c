"""What stands before moto: each call is logged, may be made to fail, is mended where moto errs.

What moto lacks is answered here: refreshes, commands, the trail, the health of targets.

A call's `session` is the run that made it, as its user agent says (`smartcloudops-run/ID`).
"""

import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from pydantic import BaseModel, ConfigDict, Field

from demo.aws.cloudtrail import lookup_events
from demo.aws.iam import forbids
from demo.aws.instance_refresh import OPERATIONS as REFRESH_OPERATIONS
from demo.aws.instance_refresh import RefreshError, Refreshes
from demo.aws.registry import bounds, group_size, instance_state
from demo.aws.ssm import OPERATIONS as COMMAND_OPERATIONS
from demo.aws.ssm import CommandError, Commands
from demo.aws.target_health import target_health

WsgiApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_LOG_MAX = 200_000
_DROPPED = 0


class InjectedFault(BaseModel):
    """How calls of an operation (`*` for all) fail, `times` times; none is for ever."""

    model_config = ConfigDict(extra="forbid")

    service: str = "*"
    operation: str = "*"
    kind: Literal["error", "delay", "drop", "drop_after"]
    code: str = "InternalError"
    status: Annotated[int, Field(ge=400, le=599)] = 500
    times: Annotated[int, Field(ge=1)] | None = None
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.0

    def fits(self, service: str, operation: str) -> bool:
        return self.service in ("*", service) and self.operation in ("*", operation)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call, as CloudTrail would show it. `status` is 0 where no answer was given."""

    time: float
    service: str
    operation: str
    parameters: Mapping[str, Any]
    session: str
    status: int = _DROPPED


@dataclass
class Gate:
    """A WSGI application around moto's. `called` is told of every call that was executed."""

    app: WsgiApp
    called: Callable[[Call], None]
    refreshes: Refreshes
    commands: Commands
    health: Callable[[str], Mapping[str, str]]
    # From when on CloudTrail shows what was called.
    trail_from: float = 0.0
    _calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_LOG_MAX), init=False)
    _faults: list[InjectedFault] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        call = _call(environ, body)
        fault = self._fault(call)
        time.sleep(fault.delay_s if fault else 0)
        if fault and fault.kind == "drop":
            self._log(call)
            return _drop(environ, start_response)
        if fault and fault.kind == "error":
            self._log(replace(call, status=fault.status))
            return _error(call, start_response, fault.status, fault.code, "injected")
        wrong = _wrong(call, environ)
        if wrong is not None:
            self._log(replace(call, status=400))
            return _error(call, start_response, 400, *wrong)
        try:
            status, headers, answer = self._answered(call, environ)
        except (RefreshError, CommandError) as refused:
            self._log(replace(call, status=400))
            return _error(call, start_response, 400, refused.code, str(refused))
        if int(status.split()[0]) < HTTPStatus.BAD_REQUEST:
            self.called(call)
        if fault and fault.kind == "drop_after":
            self._log(call)
            return _drop(environ, start_response)
        self._log(replace(call, status=int(status.split()[0])))
        start_response(status, headers)
        return [answer]

    def _answered(
        self, call: Call, environ: dict[str, Any]
    ) -> tuple[str, Sequence[tuple[str, str]], bytes]:
        """Moto's answer, or ours where moto has none."""
        if call.service == "cloudtrail" and call.operation == "LookupEvents":
            with self._lock:
                calls = list(self._calls)
            found = lookup_events(call.parameters, calls, self.trail_from)
            return _plain(json.dumps(found).encode(), "application/x-amz-json-1.1")
        if call.service == "ssm" and call.operation in COMMAND_OPERATIONS:
            answered = self.commands.answer(call.operation, call.parameters)
            return _plain(json.dumps(answered).encode(), "application/x-amz-json-1.1")
        if call.operation == "DescribeTargetHealth":
            states = self.health(call.parameters.get("TargetGroupArn", ""))
            return _plain(target_health(states).encode(), "text/xml")
        if call.operation in REFRESH_OPERATIONS:
            size = group_size(call.parameters.get("AutoScalingGroupName", ""))
            answer = self.refreshes.answer(call.operation, call.parameters, size)
            return _plain(answer.encode(), "text/xml")
        return _answered(self.app, environ)

    def log(self, since: float) -> str:
        """The calls since then as JSON Lines, oldest first."""
        with self._lock:
            calls = [call for call in self._calls if call.time >= since]
        return "".join(json.dumps(asdict(call)) + "\n" for call in calls)

    def inject(self, fault: InjectedFault) -> None:
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    def _log(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def _fault(self, call: Call) -> InjectedFault | None:
        """The first fault that fits, with one of its times used up."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.fits(call.service, call.operation):
                    if fault.times == 1:
                        del self._faults[index]
                    elif fault.times is not None:
                        self._faults[index] = fault.model_copy(update={"times": fault.times - 1})
                    return fault
        return None


def _call(environ: Mapping[str, Any], body: bytes) -> Call:
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    service = scope[3] if len(scope) > 4 else ""  # noqa: PLR2004 a credential scope has five parts
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


def _wrong(call: Call, environ: Mapping[str, Any]) -> tuple[str, str] | None:
    """What AWS refuses and moto does not: code and message."""
    if _is_ours(call) and forbids(environ, call.operation, call.parameters):
        return "AccessDenied", "IAM does not allow it"
    if call.operation == "RebootInstances":
        for name, instance_id in call.parameters.items():
            state = instance_state(instance_id) if name.startswith("InstanceId") else None
            if state not in (None, "running"):
                return "IncorrectInstanceState", f"The instance '{instance_id}' is not 'running'."
    if call.operation == "SetDesiredCapacity":
        found = bounds(call.parameters.get("AutoScalingGroupName", ""))
        wanted = int(call.parameters.get("DesiredCapacity", 0))
        if found is not None and not found[0] <= wanted <= found[1]:
            edge, name = (found[0], "min") if wanted < found[0] else (found[1], "max")
            side = "below" if wanted < found[0] else "above"
            said = f"New SetDesiredCapacity value {wanted} is {side} {name} value {edge}"
            return "ValidationError", f"{said} for the AutoScalingGroup."
    return None


def _is_ours(call: Call) -> bool:
    """Whether it is answered here, and not by moto."""
    ours = call.operation in REFRESH_OPERATIONS or call.operation == "DescribeTargetHealth"
    command = call.service == "ssm" and call.operation in COMMAND_OPERATIONS
    return ours or command or (call.service, call.operation) == ("cloudtrail", "LookupEvents")


def _plain(body: bytes, kind: str) -> tuple[str, Sequence[tuple[str, str]], bytes]:
    return "200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))], body


def _answered(
    app: WsgiApp, environ: dict[str, Any]
) -> tuple[str, Sequence[tuple[str, str]], bytes]:
    answered: list[tuple[str, Sequence[tuple[str, str]]]] = []

    def start_response(status: str, headers: Sequence[tuple[str, str]], *_: object) -> None:
        answered.append((status, headers))

    chunks = app(environ, start_response)
    answer = b"".join(chunks)
    status, headers = answered[-1]
    return status, headers, answer


def _error(
    call: Call, start_response: Callable[..., Any], status: int, code: str, message: str
) -> Iterable[bytes]:
    """An error in the form of the service's protocol."""
    code, message = escape(code), escape(message)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    if call.service == "ec2":
        body = (
            f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>0</RequestID></Response>"
        )
    elif call.service in ("autoscaling", "elbv2", "sts", "iam", "sns"):
        body = f"<ErrorResponse><Error>{inner}</Error><RequestId>0</RequestId></ErrorResponse>"
    else:
        body = json.dumps({"__type": code, "message": message})
    kind = "application/x-amz-json-1.1" if body.startswith("{") else "text/xml"
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    raw = body.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(raw)))]
    start_response(f"{status} {phrase}", headers)
    return [raw]


def _drop(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Close the connection with no answer; what is written afterwards reaches nobody."""
    connection = environ["werkzeug.socket"]
    with suppress(OSError):
        connection.shutdown(2)
    start_response("500 Dropped", [("Content-Length", "0"), ("Connection", "close")])
    return []
