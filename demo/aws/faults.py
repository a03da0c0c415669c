"""Faults that are injected into calls, over and above what AWS does by itself."""

import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from demo.aws.calls import Call
from demo.aws.world import AwsError


class DroppedError(Exception):
    """The connection is closed without an answer."""


class InjectedFault(BaseModel):
    """How calls of an operation (`*` for all) fail, `times` times; None is without end.

    `target` is the instance or group that they are about.
    """

    model_config = ConfigDict(extra="forbid")

    service: str = "*"
    operation: str = "*"
    target: str = "*"
    kind: Literal["error", "delay", "drop", "drop_after"]
    code: str = "InternalError"
    status: Annotated[int, Field(ge=400, le=599)] = 500
    times: Annotated[int, Field(ge=1)] | None = None
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.0

    def fits(self, call: Call) -> bool:
        asked = (
            (self.service, call.service),
            (self.operation, call.operation),
            (self.target, call.target),
        )
        return all(wanted in ("*", found) for wanted, found in asked)


@dataclass
class Faults:
    _all: list[InjectedFault] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def inject(self, fault: InjectedFault) -> None:
        with self._lock:
            self._all.append(fault)

    def heal(self) -> None:
        with self._lock:
            self._all.clear()

    def begin(self, call: Call) -> InjectedFault | None:
        """What fits the call, once it has been delayed. Raises AwsError or DroppedError."""
        fault = self._take(call)
        if fault is not None:
            time.sleep(fault.delay_s)
            if fault.kind == "error":
                raise AwsError(fault.code, "injected", fault.status)
            if fault.kind == "drop":
                raise DroppedError
        return fault

    def _take(self, call: Call) -> InjectedFault | None:
        """The first fault that fits; counts as one of its times."""
        with self._lock:
            for index, fault in enumerate(self._all):
                if fault.fits(call):
                    if fault.times == 1:
                        del self._all[index]
                    elif fault.times is not None:
                        self._all[index] = fault.model_copy(update={"times": fault.times - 1})
                    return fault
        return None
