"""A machine as its fleet sees it: what AWS last asked of it, and what it last told."""

import time
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from demo.aws.hardness import Timings
from demo.aws.world import Instance
from demo.machines.history import JOB_TAG
from demo.machines.machine import Machine

# How often a machine is asked, and for how long its answer counts.
_LOOK_S, _FRESH_S = 1.5, 5.0
# A failed check has lasted that long before EC2 reports it.
_IMPAIRED_S = 10.0
# The share of the processor from which on a machine has no more to give.
_STRAINED = 0.9
_RUNNING = frozenset({"pending", "running"})


@dataclass(kw_only=True)
class Member:
    """`serves` is the balancer's word, `renew` asks for an empty disk and a new boot.

    `cut_off`: its security groups let nothing in.
    """

    machine: Machine
    group: str
    az: str
    boots: int = 0
    serves: bool = False
    renew: bool = False
    cut_off: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    _facts_at: float = field(default=0.0, init=False)
    _asked: Future[dict[str, Any] | None] | None = field(default=None, init=False)
    _asked_at: float = field(default=0.0, init=False)
    # Until when the system may shut down by itself.
    _until: float | None = field(default=None, init=False)
    _started_at: float = field(default=0.0, init=False)

    def answers(self) -> bool:
        return time.monotonic() - self._facts_at < _FRESH_S and self.machine.is_on()

    def is_well(self) -> bool:
        return self.answers() and self.serves and not self.facts.get("faults")

    def follow(self, state: str, boots: int, timings: Timings) -> None:
        """Do with the power what EC2 would, now. Starts the machine in the calling thread.

        A shutdown is asked of the system first, and forced after its time.
        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-reboot.html
        """
        # After a panic the kernel stays as it is until somebody resets it.
        reset = self.renew or self.machine.exit_code() in {None, 0}
        if self.renew:
            self.machine.remove()
            self.renew = False
        wanted = state in _RUNNING
        if boots != self.boots and wanted:
            self.boots, reset = boots, True
            if self.machine.is_on():
                self._shut_down(timings.shutdown_s)
        elif state in {"stopping", "shutting-down"} and self.machine.is_on() and not self._until:
            self._shut_down(timings.stop_s)
        elif state == "stopped":
            self.machine.kill()
        if self._until and time.monotonic() > self._until:
            self.machine.kill()
            reset = True
        if not self.machine.is_on():
            self._until = None
            if wanted and reset:
                self._start()

    def look(self, pool: Executor) -> None:
        """Ask the machine for its facts, without waiting for them.

        Of one that is cut off only the kernel answers, by its console: EC2's own check is an ARP
        request, which no security group stops
        (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html).
        """
        now = time.monotonic()
        if self._asked is not None:
            if not self._asked.done():
                return
            told, self._asked = self._asked.result(), None
            if told is not None and self._asked_at > self._started_at:
                self.facts, self._facts_at = told or self.facts, now
        if now - self._asked_at > _LOOK_S:
            ask = self.machine.answer_of_kernel if self.cut_off else self.machine.facts
            self._asked_at, self._asked = now, pool.submit(ask)

    def mark(self, instance: Instance, now: float) -> None:
        """Let the status checks find what is so: a system that is unreachable, or its hardware."""
        silent_s = time.monotonic() - max(self._facts_at, self._started_at)
        limit_s = _IMPAIRED_S if self.machine.frozen else 3 * _IMPAIRED_S
        if instance.state != "running" or silent_s < limit_s:
            found = ""
        else:
            found = "system" if self.machine.frozen else "instance"
        if instance.impaired != found:
            instance.impaired, instance.impaired_at = found, now

    def truth(self, instance: Instance) -> dict[str, Any]:
        faults = list(self.facts.get("faults", ()))
        if self.machine.frozen:
            faults.append("hardware_failure")
        answers = self.answers()
        if instance.state in {"stopping", "stopped", "shutting-down"}:
            health = "stopped"
        elif not answers:
            booting = time.monotonic() - self._started_at < 3 * _IMPAIRED_S
            health = "booting" if booting and not self.machine.frozen else "down"
        else:
            cpu = self.facts.get("cpu")
            strained = cpu is not None and cpu > _STRAINED
            health = "healthy" if self.is_well() and not strained else "degraded"
        return {
            "instance_id": instance.id,
            "asg": self.group,
            "az": self.az,
            "health": health,
            "faults": faults,
            "traffic": None,
            "cpu": self.facts.get("cpu") if answers else None,
            "launched_at": instance.launched_at,
            "booted_at": time.time() - self.facts.get("uptime_s", 0.0) if answers else None,
            "boot_id": self.facts.get("boot_id"),
            "kernel": self.facts.get("kernel"),
            "processes": self.facts.get("processes", {}),
            "nightly_job": JOB_TAG in instance.tags,
        }

    def _shut_down(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        if self.machine.frozen:
            return
        self.machine.ask_to_shut_down()

    def _start(self) -> None:
        self._started_at, self._facts_at = time.monotonic(), 0.0
        self.facts = {}
        self.machine.start()
