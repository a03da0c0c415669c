"""The order in which the incidents of a script are played."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from demo.incidents import SCRIPT
from demo.playback import Playback
from demo.stack.environment import Environment
from demo.stack.processes import ProcessError

_JOB = next(incident for incident in SCRIPT if incident.fault == "batch_job")
_SCRIPT = (_JOB, replace(_JOB, fault="compile_job", group="api-asg"))
_TOGETHER_S = 20.0


class Screen:
    """What the demo says."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    def head(self, text: str) -> None:
        self.heads.append(text)

    def say(self, component: str, text: str) -> None:
        pass

    def waiting(self, text: str) -> None:
        pass

    def stop_waiting(self) -> None:
        pass


class Chain:
    """Two groups of one instance, and a service that refutes each alert at once.

    Its fleet takes a fault only once both groups are about to be broken.
    """

    def __init__(self) -> None:
        self.together = threading.Barrier(2)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/_sim/fleet/faults":
            try:
                self.together.wait(_TOGETHER_S)
            except threading.BrokenBarrierError:
                return httpx.Response(400, text="the other group was left alone")
            return httpx.Response(200)
        if path == "/_sim/calls":
            return httpx.Response(200, text="")
        return httpx.Response(200, text=json.dumps(self._body(path)))

    def _body(self, path: str) -> dict[str, Any]:
        names = {"i-1": "web-asg", "i-2": "api-asg"}
        if path == "/_sim/fleet":
            healthy = {"health": "healthy", "faults": []}
            return {
                "items": [
                    {"instance_id": name, "asg": group, **healthy} for name, group in names.items()
                ]
            }
        if path == "/api/v1/alerts":
            return {"data": {"alerts": []}}
        runs = {name: _run(name) for name in names}
        return runs.get(path.rpartition("/")[2], {"items": [*runs.values()]})


def _run(target: str) -> dict[str, Any]:
    at = "2026-11-30T00:00:00+00:00"
    return {
        "id": target,
        "target": target,
        "state": "refused",
        "refusal": "verdict_refuted",
        "alert": {"labels": {}, "starts_at": at},
        "received_at": at,
        "decided_at": at,
        "plan": None,
        "steps": [],
        "verdict": None,
        "outcome": "usual",
    }


def _playback(screen: Screen, check: Any) -> Playback:
    url = "http://demo"
    environment = SimpleNamespace(
        aws=url, prometheus=url, receiver=url, tokens={"viewer": "v", "operator": "o"}
    )
    return Playback(
        environment=cast(Environment, environment),
        http=httpx.Client(transport=httpx.MockTransport(Chain().answer)),
        screen=screen,
        check=check,
    )


def test_two_groups_are_broken_at_the_same_time() -> None:
    """And their records come in the order of the script."""
    screen = Screen()
    observed = _playback(screen, lambda: None).play(_SCRIPT)
    assert [(one.fault, one.target, one.ended_as_expected) for one in observed] == [
        ("batch_job", "i-1", True),
        ("compile_job", "i-2", True),
    ]
    assert sorted(screen.heads) == ["batch_job in web-asg", "compile_job in api-asg"]


def test_a_process_that_ended_ends_the_demo() -> None:
    def check() -> None:
        raise ProcessError("prometheus ended")

    with pytest.raises(ProcessError, match="prometheus ended"):
        _playback(Screen(), check).play(_SCRIPT)
