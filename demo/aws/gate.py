"""A gate before moto: it logs calls, injects faults, and refuses what only AWS refuses.

It also answers the operations that moto lacks: instance refreshes, SSM commands, CloudTrail, and
the health of targets.
"""

import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from demo.aws.calls import Call, parse_call
from demo.aws.cloudtrail import lookup_events
from demo.aws.iam import is_denied
from demo.aws.instance_refresh import OPERATIONS as REFRESH_OPERATIONS
from demo.aws.instance_refresh import RefreshError, Refreshes
from demo.aws.registry import bounds, group_size, instance_state
from demo.aws.responses import (
    JSON,
    XML,
    Answer,
    WsgiApp,
    call_app,
    drop_connection,
    send_error,
    success,
)
from demo.aws.ssm import OPERATIONS as COMMAND_OPERATIONS
from demo.aws.ssm import CommandError, Commands
from demo.aws.target_health import target_health

_LOG_MAX = 200_000


class InjectedFault(BaseModel):
    """A failure of an operation (`*` for all): of its next `times` calls, None for all calls."""

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


@dataclass
class Gate:
    """A WSGI application around moto's. `on_call` gets every call that was executed."""

    app: WsgiApp
    on_call: Callable[[Call], None]
    refreshes: Refreshes
    commands: Commands
    health: Callable[[str], Mapping[str, str]]
    # CloudTrail shows calls from this time on.
    trail_from: float = 0.0
    _calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_LOG_MAX), init=False)
    _faults: list[InjectedFault] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        call = parse_call(environ, body)
        fault = self._take_fault(call)
        time.sleep(fault.delay_s if fault else 0)
        if fault and fault.kind == "drop":
            self._log(call)
            return drop_connection(environ, start_response)
        if fault and fault.kind == "error":
            self._log(replace(call, status=fault.status))
            return send_error(call, start_response, fault.status, fault.code, "injected")
        refusal = _why_refused(call, environ)
        if refusal is not None:
            self._log(replace(call, status=400))
            return send_error(call, start_response, 400, *refusal)
        try:
            status, headers, answer = self._answer(call, environ)
        except (RefreshError, CommandError) as error:
            self._log(replace(call, status=400))
            return send_error(call, start_response, 400, error.code, str(error))
        if int(status.split()[0]) < HTTPStatus.BAD_REQUEST:
            self.on_call(call)
        if fault and fault.kind == "drop_after":
            self._log(call)
            return drop_connection(environ, start_response)
        self._log(replace(call, status=int(status.split()[0])))
        start_response(status, headers)
        return [answer]

    def _answer(self, call: Call, environ: dict[str, Any]) -> Answer:
        """Moto's answer, or our own where moto lacks the operation."""
        if call.service == "cloudtrail" and call.operation == "LookupEvents":
            with self._lock:
                calls = list(self._calls)
            events = lookup_events(call.parameters, calls, self.trail_from)
            return success(json.dumps(events), JSON)
        if call.service == "ssm" and call.operation in COMMAND_OPERATIONS:
            return success(json.dumps(self.commands.answer(call.operation, call.parameters)), JSON)
        if call.operation == "DescribeTargetHealth":
            states = self.health(call.parameters.get("TargetGroupArn", ""))
            return success(target_health(states), XML)
        if call.operation in REFRESH_OPERATIONS:
            size = group_size(call.parameters.get("AutoScalingGroupName", ""))
            return success(self.refreshes.answer(call.operation, call.parameters, size), XML)
        return call_app(self.app, environ)

    def log(self, since: float) -> str:
        """The calls from `since` on as JSON Lines, oldest first."""
        with self._lock:
            calls = [call for call in self._calls if call.time >= since]
        return "".join(json.dumps(asdict(call)) + "\n" for call in calls)

    def inject(self, fault: InjectedFault) -> None:
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Remove all injected faults."""
        with self._lock:
            self._faults.clear()

    def _log(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def _take_fault(self, call: Call) -> InjectedFault | None:
        """The first matching fault; one of its `times` is used up."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.fits(call.service, call.operation):
                    if fault.times == 1:
                        del self._faults[index]
                    elif fault.times is not None:
                        self._faults[index] = fault.model_copy(update={"times": fault.times - 1})
                    return fault
        return None


def _why_refused(call: Call, environ: Mapping[str, Any]) -> tuple[str, str] | None:
    """Error code and message of a call that AWS refuses and moto allows, else None."""
    if _is_ours(call) and is_denied(environ, call.operation, call.parameters):
        return "AccessDenied", "IAM does not allow it"
    if call.operation == "RebootInstances":
        for name, instance_id in call.parameters.items():
            state = instance_state(instance_id) if name.startswith("InstanceId") else None
            if state not in (None, "running"):
                return "IncorrectInstanceState", f"The instance '{instance_id}' is not 'running'."
    if call.operation == "SetDesiredCapacity":
        return _why_out_of_bounds(call)
    return None


def _why_out_of_bounds(call: Call) -> tuple[str, str] | None:
    limits = bounds(call.parameters.get("AutoScalingGroupName", ""))
    wanted = int(call.parameters.get("DesiredCapacity", 0))
    if limits is None or limits[0] <= wanted <= limits[1]:
        return None
    edge, name = (limits[0], "min") if wanted < limits[0] else (limits[1], "max")
    side = "below" if wanted < limits[0] else "above"
    value = f"New SetDesiredCapacity value {wanted} is {side} {name} value {edge}"
    return "ValidationError", f"{value} for the AutoScalingGroup."


def _is_ours(call: Call) -> bool:
    """Whether this module answers the call in place of moto."""
    ours = call.operation in REFRESH_OPERATIONS or call.operation == "DescribeTargetHealth"
    command = call.service == "ssm" and call.operation in COMMAND_OPERATIONS
    return ours or command or (call.service, call.operation) == ("cloudtrail", "LookupEvents")
