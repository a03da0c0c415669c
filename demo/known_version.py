"""Waits until the service knows the version of a group's launch template to be healthy.

It takes five minutes of members that are well; only then it proposes to restore that version.
"""

import time
from collections.abc import Callable

import httpx

from demo.stack.environment import Environment
from demo.stack.processes import ProcessError
from receiver.decision.version_watch import HEALTHY

_LIMIT_S, _POLL_S = 420, 2


def wait_for(
    http: httpx.Client, environment: Environment, group: str, waiting: Callable[[str], None]
) -> None:
    """Until the audit has the version. Raises ProcessError."""
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        answer = http.get(
            f"{environment.receiver}/api/v1/audit",
            params={"limit": "1000"},
            headers={"Authorization": f"Bearer {environment.tokens['viewer']}"},
        )
        records = answer.raise_for_status().json()["items"]
        if any(item["event"] == HEALTHY and item["detail"]["group"] == group for item in records):
            return
        waiting(f"the service has not yet seen {group} healthy for five minutes")
        time.sleep(_POLL_S)
    raise ProcessError(f"the service did not see {group} healthy within {_LIMIT_S} s")
