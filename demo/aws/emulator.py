"""The emulated AWS as one WSGI application, served in process or over HTTP.

In process, `clients` gives boto3 clients whose HTTP session is this application, and its clock may
be virtual. `python -m demo.aws.server` serves it over HTTP.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from botocore import xform_name

from demo.aws.calls import Call, StartResponse, read_call, send_answer, send_error
from demo.aws.core import Core
from demo.aws.faults import DroppedError, Faults
from demo.aws.services.autoscaling import AutoScaling
from demo.aws.services.change_calendar import ChangeCalendars
from demo.aws.services.cloudtrail import lookup_events
from demo.aws.services.ebs import Volumes
from demo.aws.services.ec2 import Instances
from demo.aws.services.elbv2 import Balancers
from demo.aws.services.groups import Groups
from demo.aws.services.iam import is_denied
from demo.aws.services.instance_refresh import InstanceRefreshes
from demo.aws.services.instance_status import InstanceStatuses
from demo.aws.services.ssm import Commands
from demo.aws.services.vpc import Networks
from demo.aws.services.zonal_shift import ZonalShifts
from demo.aws.world import AwsError, World

_LOG_MAX = 200_000
_DENIED = {"ec2": "UnauthorizedOperation", "ssm": "AccessDeniedException"}
# What each service calls throttling, and its status.
_THROTTLED = {
    "ec2": ("RequestLimitExceeded", 503),
    "ssm": ("ThrottlingException", 400),
    "cloudtrail": ("ThrottlingException", 400),
}


@dataclass
class Emulator:
    """Its state is `core.world`; `lock` guards it.

    `trouble` gets each operation and its phase ("before", and "after" for those that change
    something), and may raise; an error other than AwsError reaches the caller of boto3.
    `on_call` gets each call that changed something, `calls` holds them, `log` holds all. A test may
    leave calls to `log` alone: those that are not `watched`.
    `on_answer` gets each answer and may change it.
    `throttled_at` is when it last refused a call for its rate, `throttles` how many it refused.
    `policies` are IAM policies by access key; a key without one may do everything.
    """

    core: Core
    trouble: Callable[[str, str], None] = lambda _, __: None
    on_call: Callable[[Call], None] = lambda _: None
    watched: Callable[[Call], bool] = lambda _: True
    on_answer: Callable[[Call, dict[str, Any]], None] = lambda _, __: None
    policies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    trail_from: float = 0.0
    throttled_at: float = field(default=0.0, init=False)
    throttles: int = field(default=0, init=False)
    faults: Faults = field(default_factory=Faults, init=False)
    calls: list[Call] = field(default_factory=list, init=False)
    log: deque[Call] = field(default_factory=lambda: deque(maxlen=_LOG_MAX), init=False)
    lock: Any = field(default_factory=threading.RLock, init=False)

    def __post_init__(self) -> None:
        balancers = Balancers(self.core)
        self.groups = Groups(self.core, balancers)
        self.refreshes = InstanceRefreshes(self.core, self.groups)
        self.statuses = InstanceStatuses(self.core)
        self._services = {
            "autoscaling": (AutoScaling(self.core, self.groups), self.refreshes),
            "ec2": (
                Instances(self.core),
                self.statuses,
                Volumes(self.core),
                Networks(self.core),
            ),
            "elbv2": (balancers,),
            "ssm": (Commands(self.core), ChangeCalendars(self.core)),
            "arc-zonal-shift": (ZonalShifts(self.core),),
        }
        self._buckets: dict[str, tuple[float, float]] = {}
        self.groups.watch()

    @property
    def world(self) -> World:
        return self.core.world

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        began = time.perf_counter()
        try:
            call = read_call(environ, self.core.clock())
        except AwsError as error:
            return send_error("", error, start_response)
        status = 0
        try:
            answer = self._execute(call)
            status = 200
            return send_answer(call, answer, start_response)
        except AwsError as error:
            status = error.status
            return send_error(call.service, error, start_response)
        finally:
            took_s = time.perf_counter() - began
            self.log.append(replace(call, status=status, took_s=took_s))

    def pass_time(self) -> None:
        """Let everything happen that is due."""
        with self.lock:
            self.core.tick()

    def start_over(self) -> None:
        """An empty world, in which nothing was called and nothing is due."""
        self.core.start_over()
        self.log.clear()
        self._buckets.clear()

    def operations(self) -> list[str]:
        """The names of all calls so far."""
        return [call.operation for call in self.log]

    def log_lines(self, since: float = 0.0) -> str:
        """The calls since then as JSON Lines, oldest first."""
        calls = [call for call in list(self.log) if call.time >= since]
        return "".join(json.dumps(asdict(call), default=str) + "\n" for call in calls)

    def _execute(self, call: Call) -> dict[str, Any]:
        fault, watched = self.faults.begin(call), self.watched(call)
        if watched:
            self.trouble(call.operation, "before")
        with self.lock:
            self.core.tick()
            self._admit(call)
            if call.reads:
                with self.core.as_seen():
                    return self._answer(call)
            self.core.remember()
            answer = self._answer(call)
            done = replace(call, time=self.core.now, status=200)
            if watched:
                self.calls.append(done)
                self.on_call(done)
        if watched:
            self.trouble(call.operation, "after")
        if fault and fault.kind == "drop_after":
            raise DroppedError
        return answer

    def _admit(self, call: Call) -> None:
        """Raises AwsError where IAM or a rate limit forbids the call."""
        policy = self.policies.get(call.key)
        if policy is not None and is_denied(policy, call, self.world):
            code = _DENIED.get(call.service, "AccessDenied")
            raise AwsError(code, "IAM does not allow it", 403)
        limit = self.core.hardness.limit_of(call.service, call.operation, reads=call.reads)
        if limit is None:
            return
        # A token bucket for each operation, as for EC2:
        # https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
        burst, refill = limit
        tokens, at = self._buckets.get(call.operation, (burst, self.core.now))
        tokens = min(tokens + (self.core.now - at) * refill, burst)
        self._buckets[call.operation] = (max(0.0, tokens - 1), self.core.now)
        if tokens < 1:
            self.throttled_at = self.core.now
            self.throttles += 1
            code, status = _THROTTLED.get(call.service, ("Throttling", 400))
            raise AwsError(code, "Rate exceeded", status)

    def _answer(self, call: Call) -> dict[str, Any]:
        name = xform_name(call.operation)
        for service in self._services.get(call.service, (self,)):
            handler = getattr(service, name, None)
            if handler is not None:
                answer: dict[str, Any] = handler(call.parameters) or {}
                self.on_answer(call, answer)
                return answer
        raise AwsError("InvalidAction", f"The action {call.operation} is not emulated")

    # The services with one operation that is worth emulating.
    def lookup_events(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return lookup_events(request, list(self.log), self.trail_from, self.events)

    def publish(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.world.published.append(dict(request))
        return {"MessageId": self.core.new_id("message")}

    def get_caller_identity(self, _: Mapping[str, Any]) -> dict[str, Any]:
        account = self.world.account
        arn = f"arn:aws:iam::{account}:user/emulated"
        return {"UserId": "AIDA", "Account": account, "Arn": arn}
