"""Instance refreshes, which moto lacks. Only their states are emulated: no instance is replaced."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_NAMESPACE = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
_MEMBER_S = 5.0
_ACTIVE = frozenset({"Pending", "InProgress", "Cancelling", "RollbackInProgress"})
OPERATIONS = frozenset(
    {
        "CancelInstanceRefresh",
        "DescribeInstanceRefreshes",
        "RollbackInstanceRefresh",
        "StartInstanceRefresh",
    }
)


class RefreshError(Exception):
    """A refusal; `code` as AWS names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class _Refresh:
    id: str
    group: str
    began: float
    lasts_s: float
    status: str = "InProgress"
    ended: float | None = None

    def at(self, now: float) -> str:
        if self.status in _ACTIVE and now - self.began >= self.lasts_s:
            ends = {"InProgress": "Successful", "RollbackInProgress": "RollbackSuccessful"}
            self.status, self.ended = ends.get(self.status, "Cancelled"), now
        return self.status


@dataclass
class Refreshes:
    """All refreshes; they run `speed` times as fast as in AWS."""

    speed: float = 1.0
    _all: list[_Refresh] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def answer(self, operation: str, parameters: Mapping[str, str], size: int) -> str:
        """The answer to the operation, as XML. Raises RefreshError."""
        now, group = time.time(), parameters.get("AutoScalingGroupName", "")
        with self._lock:
            of_group = [refresh for refresh in self._all if refresh.group == group]
            active = [refresh for refresh in of_group if refresh.at(now) in _ACTIVE]
            if operation == "DescribeInstanceRefreshes":
                body = "".join(_member(refresh) for refresh in reversed(of_group))
                return _document(operation, f"<InstanceRefreshes>{body}</InstanceRefreshes>")
            if operation == "StartInstanceRefresh":
                if active:
                    raise RefreshError(
                        "InstanceRefreshInProgress", f"An instance refresh of {group} runs"
                    )
                active = [self._begin(group, size, now)]
            elif not active:
                raise RefreshError(
                    "ActiveInstanceRefreshNotFound", f"No instance refresh of {group} runs"
                )
            elif operation == "CancelInstanceRefresh":
                active[0].status, active[0].ended = "Cancelled", now
            else:
                active[0].status, active[0].began = "RollbackInProgress", now
        named = f"<InstanceRefreshId>{active[0].id}</InstanceRefreshId>"
        return _document(operation, named)

    def _begin(self, group: str, size: int, now: float) -> _Refresh:
        number = f"{len(self._all):012x}"
        refresh = _Refresh(
            id=f"00000000-0000-4000-8000-{number}",
            group=group,
            began=now,
            lasts_s=_MEMBER_S * size / self.speed,
        )
        self._all.append(refresh)
        return refresh


def _member(refresh: _Refresh) -> str:
    ended = f"<EndTime>{_time(refresh.ended)}</EndTime>" if refresh.ended else ""
    return (
        f"<member><InstanceRefreshId>{refresh.id}</InstanceRefreshId>"
        f"<AutoScalingGroupName>{escape(refresh.group)}</AutoScalingGroupName>"
        f"<Status>{refresh.status}</Status><StartTime>{_time(refresh.began)}</StartTime>{ended}</member>"
    )


def _time(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _document(operation: str, inner: str) -> str:
    return (
        f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result>{inner}'
        f"</{operation}Result></{operation}Response>"
    )
