"""Replacements by a real receiver, which is killed in the middle of each and started again.

The emulated AWS runs in this process and in real time; every 50 ms it is counted who serves.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from werkzeug.serving import WSGIRequestHandler, make_server

from bench.chaos.replaced_fleet import GROUP, SIZE, Replaced, ReplacedFleet, ReplaceMode
from bench.load.service import Served, serve
from bench.load.traffic import all_up, running
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Timings
from demo.stack.processes import Processes
from receiver.http.access.callers import Role

_TIMINGS = Timings(launch_s=3.0, start_s=1.0, boot_s=0.0, terminate_s=2.0, drain_s=1.0)
# A replacement takes so long; the kill hits anywhere in it.
_KILLED_WITHIN_S, _PATIENCE_S, _SAMPLED_S = 7.0, 120.0, 0.05
_PLAYBOOK = """
name: {name}
match: ['alertname="{mode}"']
mode: auto
cooldown: 1s
limits:
  target_per_hour: 1000
  target_per_day: 1000
  group_per_hour: 1000
  playbook_per_hour: 1000
  blast_radius: 50%
  relapse: 0s
recheck: ['up{{instance_id="$instance_id"}} == bool 1']
steps: [{{action: replace_instance, params: {{mode: {mode}}}}}]
verify: {{expr: 'count(up) > bool 0', for: 0s, timeout: 30s}}
"""


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """The emulator logs calls."""


def replace_and_kill(folder: Path, times: int, seed: int) -> Sequence[Replaced]:
    """Raises ProcessError, or TimeoutError where a run does not end."""
    (folder / "playbooks").mkdir()
    for mode in ReplaceMode:
        text = _PLAYBOOK.format(mode=mode, name=mode.replace("_", "-"))
        (folder / f"playbooks/{mode}.yaml").write_text(text)
    chance = random.Random(seed)
    emulator = Emulator(Core(time.time, _TIMINGS))
    fleet = ReplacedFleet(emulator, delay_s=1.0)
    with (
        Processes(folder / "logs") as processes,
        all_up() as prometheus,
        served(emulator) as aws,
        _counted(fleet),
    ):
        settings = {
            "PLAYBOOKS": str(folder / "playbooks"),
            "PROMETHEUS_URL": prometheus,
            "AWS": aws,
            "MODE": "auto",
            "CLOUDTRAIL": "false",
            "VERIFY_INTERVAL_S": "1",
        }
        service = serve(processes, folder, "receiver", **settings)
        made = list[Replaced]()
        for number in range(times):
            mode = list(ReplaceMode)[number % 2]
            before, called = fleet.begin(), len(emulator.calls)
            target = chance.choice(before)
            _deliver(service, mode, target)
            time.sleep(chance.uniform(0.1, _KILLED_WITHIN_S))
            service.child.kill()
            service = serve(processes, folder, "receiver", **settings)
            _wait(lambda served=service, of=target: _is_over(served, of))  # type: ignore[misc] # mypy does not infer it
            _wait(lambda: len(fleet.serving) == SIZE)
            calls = emulator.calls[called:]
            made.append(fleet.replaced(mode, target, before, calls, cut_off=True))
    return made


@contextmanager
def _counted(fleet: ReplacedFleet) -> Iterator[None]:
    """Count all the time who serves."""
    over = threading.Event()

    def count() -> None:
        while not over.wait(_SAMPLED_S):
            fleet.count()

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def served(emulator: Emulator) -> AbstractContextManager[str]:
    """The URL of the emulated AWS."""
    return running(make_server("127.0.0.1", 0, emulator, threaded=True, request_handler=_Quiet))


def _deliver(service: Served, mode: str, target: str) -> None:
    labels: Mapping[str, str] = {"alertname": mode, "instance_id": target, "asg": GROUP}
    alert = {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
    headers = {"Authorization": f"Bearer {service.tokens[Role.WEBHOOK]}"}
    url = f"{service.url}/webhook/alertmanager"
    body = {"version": "4", "alerts": [alert]}
    httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30).raise_for_status()


def _is_over(service: Served, target: str) -> bool:
    runs = service.get(f"/api/v1/runs?target={target}").json()["items"]
    return bool(runs) and all(run["ended_at"] for run in runs)


def _wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("the replacement did not end in time")
        time.sleep(0.2)
