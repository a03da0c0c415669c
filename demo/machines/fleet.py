"""The fleet of the demo as real machines: the emulated AWS says what they shall do.

One thread reads the emulator's state and switches power by it, since the kernel ends a machine with
the thread that started it. Whether a system answers, serves or has ended is asked of the machine.
"""

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.aws.core import SteadyHosts
from demo.aws.emulator import Emulator
from demo.aws.world import GROUP_TAG, Group, Instance, TargetGroup, target_group_arn
from demo.fleet.faults import FaultError
from demo.machines import history, image, programs
from demo.machines.breaker import Breaker
from demo.machines.machine import Machine
from demo.machines.member import Member
from demo.machines.network.ports import EXPORTER, Network, Slot
from demo.machines.reaper import Reaper
from demo.machines.traffic.balancer import Balancer
from demo.machines.traffic.callers import Callers
from demo.machines.traffic.targets import guard, register

_TICK_S = 0.2
_FOLDERS = "smartcloudops-machines-"
_BOOTED_S = 240.0


@dataclass
class MachineFleet(SteadyHosts):
    """`sizes` are the groups by name, `day` is the time by which the callers come.

    Use `serve` from a thread that lasts; the rest from any.
    """

    aws: Emulator
    seed: int
    sizes: Mapping[str, int]
    day: Callable[[], float] = time.time
    _began: float = field(default=0.0, init=False)
    _members: dict[str, Member] = field(default_factory=dict, init=False)
    _documents: dict[str, Future[dict[str, Any] | None]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.clock, self._lock = self.aws.core.clock, self.aws.lock
        self.aws.core.hosts = self
        self._changed, self._stopped = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=16)
        chance = random.Random(self.seed)
        for name, size in self.sizes.items():
            service = name.removesuffix("-asg")
            group = Group(name, max(1, size - 2), 2 * size, size)
            group.tags |= {"Name": service, "service": service}
            arn = target_group_arn(service)
            delay_s = self.aws.core.timings.drain_s
            self.aws.world.target_groups[arn] = TargetGroup(arn, delay_s=delay_s)
            group.target_groups.append(arn)
            ids = [f"i-{chance.getrandbits(68):017x}" for _ in range(size)]
            self.aws.world.add_group(group, ids, self.clock() - history.UPTIME_S)
            if name == history.JOB_GROUP:
                self.aws.world.instances[ids[-1]].tags[history.JOB_TAG] = "true"

    def serve(self) -> None:
        """Start the switch, the balancer, the callers and the machines; follow AWS until `stop`.

        Raises ProcessError, ToolsError.
        """
        tools = programs.require()
        root = image.require(tools)
        with ExitStack() as stack:
            # A path of a socket has at most 108 characters.
            folder = Path(stack.enter_context(_own_folder()))
            reaper = stack.enter_context(Reaper())
            network = stack.enter_context(Network(tools, folder))
            names = [name.removesuffix("-asg") for name in self.sizes]
            self._balancer = stack.enter_context(Balancer(names, network.slots, folder))
            self._callers = stack.enter_context(
                Callers(self.sizes, self._balancer.ports, folder, self.day)
            )
            stack.callback(self._kill_all)

            def build(instance_id: str, slot: Slot, variables: Mapping[str, str]) -> Machine:
                home = folder / instance_id.removeprefix("i-")[-8:]
                network.restore(slot)
                return Machine(
                    instance_id, tools, root, slot, network.socket(slot), home, reaper, variables
                )

            self._build, self._network = build, network
            self._breaker = Breaker(self.aws, self.sizes, self._members, network, self._callers)
            while not self._stopped.is_set():
                self._follow_all()
                self._changed.wait(_TICK_S)
                self._changed.clear()

    def stop(self) -> None:
        """Let `serve` end, and with it every machine."""
        self._stopped.set()

    def tick(self) -> None:
        """Look at the emulator's state at once."""
        self._changed.set()

    def begin(self, now: float) -> None:
        """Wait until every machine serves; their past ends now.

        Raises FaultError where one does not serve in time.
        """
        until = time.monotonic() + _BOOTED_S
        while not (self._members and all(map(Member.is_well, list(self._members.values())))):
            if time.monotonic() > until:
                raise FaultError(f"the machines did not serve within {_BOOTED_S:.0f} s")
            time.sleep(_TICK_S)
        self._began = now

    def history(self) -> Iterator[str]:
        """A week before `begin`, made of what such machines did, in OpenMetrics' text format."""
        with self._lock:
            instances = [
                instance
                for instance in self.aws.world.instances.values()
                if GROUP_TAG in instance.tags
            ]
        return history.openmetrics(instances, self._began)

    def answers(self, instance: Instance, now: float) -> bool:
        del now
        member = self._members.get(instance.id)
        return instance.state == "running" and member is not None and member.answers()

    def serves(self, instance: Instance, now: float) -> bool:
        del now
        member = self._members.get(instance.id)
        return member is not None and member.serves

    def console(self, instance: Instance) -> str:
        member = self._members.get(instance.id)
        return member.machine.console() if member else ""

    def document_result(
        self, command: str, instance_id: str, document: str
    ) -> tuple[bool, str] | None:
        member = self._members.get(instance_id)
        if member is None:
            return False, ""
        if command not in self._documents:
            self._documents[command] = self._pool.submit(member.machine.run, "documents", document)
        future = self._documents[command]
        if not future.done():
            return None
        result = future.result() or {"code": -1, "output": "the agent went away\n"}
        return result["code"] == 0, result["output"]

    def inject(self, target: str, name: str) -> None:
        """Inject a fault. Raises FaultError where the fault or the target does not exist."""
        self._breaker.inject(target, name)

    def repair(self, target: str | None) -> None:
        """Make an instance, a group, or everything well again."""
        self._breaker.repair(target)
        self.tick()

    def metrics(self, instance_id: str) -> str | None:
        """The exporter's text; empty where it does not answer, None without such a machine."""
        member = self._members.get(instance_id)
        if member is None:
            return None
        return member.machine.read(EXPORTER, "/metrics")

    def url(self, group: str) -> str:
        """The load balancer of a group."""
        return f"http://127.0.0.1:{self._balancer.ports[group.removesuffix('-asg')]}"

    def requests(self, since: float, until: float) -> Mapping[str, Mapping[str, int]]:
        """What the callers counted in that time, by group: `sent`, `failed`, `slow`."""
        return self._callers.count(since, until)

    def truth(self) -> Sequence[dict[str, Any]]:
        """The state of the machines, by what they tell of themselves."""
        with self._lock:
            instances = dict(self.aws.world.instances)
        return [
            member.truth(instances[instance_id])
            for instance_id, member in list(self._members.items())
            if instance_id in instances
        ]

    def _follow_all(self) -> None:
        with self._lock:
            self.aws.core.tick()
            instances = {
                instance.id: (instance, instance.state, instance.boots)
                for instance in self.aws.world.instances.values()
                if GROUP_TAG in instance.tags
            }
        healthy = self._balancer.healthy()
        for instance_id, (instance, state, boots) in instances.items():
            if state == "terminated":
                if instance_id in self._members:
                    self._members.pop(instance_id).machine.remove()
                continue
            member = self._members.get(instance_id) or self._admit(instance)
            if member is None:
                continue
            if state == "stopped":
                # A start moves it to other hardware.
                self._network.restore(member.machine.slot)
            member.follow(state, boots, self.aws.core.timings)
            member.look(self._pool)
            group = member.group.removesuffix("-asg")
            member.serves = healthy.get((group, member.machine.slot.number), False)
            with self._lock:
                member.mark(instance, self.clock())
        register(self.aws, self._members, self._balancer)
        guard(self.aws, self._members, self._network)

    def _admit(self, instance: Instance) -> Member | None:
        taken = {member.machine.slot.number for member in self._members.values()}
        free = next((slot for slot in self._network.slots if slot.number not in taken), None)
        if free is None:
            return None
        group = instance.tags[GROUP_TAG]
        with self._lock:
            launched = self.aws.world.groups[group].members.get(instance.id)
        broken = launched is not None and (group, launched.version) in self._breaker.bad
        machine = self._build(instance.id, free, {"BROKEN": "1"} if broken else {})
        member = Member(machine=machine, group=group, az=instance.az)
        member.boots = instance.boots
        self._members[instance.id] = member
        return member

    def _kill_all(self) -> None:
        for member in self._members.values():
            member.machine.kill()


def _own_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder with this process in its name; those of processes that were killed are removed."""
    for stale in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        if not Path("/proc", stale.name.removeprefix(_FOLDERS).partition("-")[0]).exists():
            shutil.rmtree(stale, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{_FOLDERS}{os.getpid()}-")
