"""Time, chance and the state that all services of the emulated AWS share."""

import copy
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from demo.aws.hardness import CALM, Hardness, Timings
from demo.aws.world import AwsError, Instance, World


class Hosts(Protocol):
    """The systems inside the instances."""

    def answers(self, instance: Instance, now: float) -> bool:
        """Whether its system, and so its SSM agent, answers."""

    def serves(self, instance: Instance, now: float) -> bool:
        """Whether its service answers the load balancer's health check."""

    def document_result(
        self, command: str, instance_id: str, document: str
    ) -> tuple[bool, str] | None:
        """Whether the document of this command succeeded, and its output; None while it runs.

        The first call starts it.
        """

    def console(self, instance: Instance) -> str:
        """What its system wrote to the console."""


class SteadyHosts:
    """Systems that answer while their instance runs, and succeed in what they are told."""

    def answers(self, instance: Instance, now: float) -> bool:
        up = instance.state == "running" and now >= instance.up_at
        return up and not instance.hung and instance.impaired != "system"

    def serves(self, instance: Instance, now: float) -> bool:
        return self.answers(instance, now)

    def document_result(
        self, command: str, instance_id: str, document: str
    ) -> tuple[bool, str] | None:
        del command
        return self.run_document(instance_id, document), f"{document} on {instance_id}\n"

    def run_document(self, instance_id: str, document: str) -> bool:
        """Run a document on the host; False where it fails."""
        del instance_id, document
        return True

    def console(self, instance: Instance) -> str:
        return f"{instance.id} was booted {instance.boots} times\n"


@dataclass
class Core:
    """`clock` may be virtual: what is due happens at the next call, in its order and at its time.

    `drew` is the chance of the seed; a share of 0 draws nothing, so that a calm AWS never varies.
    """

    clock: Callable[[], float]
    timings: Timings = field(default_factory=Timings)
    hardness: Hardness = CALM
    seed: int = 0
    hosts: Hosts = field(default_factory=SteadyHosts)
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.now = self.clock()
        self.chance = random.Random(self.seed)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._past: deque[tuple[float, World]] = deque()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), event))

    def tick(self) -> None:
        """Let everything happen that is due by now."""
        until = self.clock()
        while self._due and self._due[0][0] <= until:
            self.now, _, event = heapq.heappop(self._due)
            self.remember()
            event()
        self.now = max(until, self.now) if self._due else until

    def start_over(self) -> None:
        """An empty world, in which nothing is due and of which nothing was seen."""
        self.world = World(account=self.world.account, region=self.world.region)
        self._due.clear()
        self._past.clear()

    def often(self, share: float) -> bool:
        return share > 0 and self.chance.random() < share

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{0xABC00000000000000 + next(self._numbers):017x}"

    def remember(self) -> None:
        """Keep the state as it is, for describes that lag behind."""
        if not self.hardness.lag_s:
            return
        self._past.append((self.now, copy.deepcopy(self.world)))
        while self._past[0][0] <= self.now - self.hardness.lag_s:
            self._past.popleft()

    @contextmanager
    def as_seen(self) -> Iterator[None]:
        """The world as a describe shows it: EC2's API is eventually consistent.

        https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
        """
        seen = (world for at, world in self._past if at > self.now - self.hardness.lag_s)
        world, self.world = self.world, next(seen, self.world)
        try:
            yield
        finally:
            self.world = world

    def instance(self, instance_id: str) -> Instance:
        """Raises AwsError where it does not exist."""
        if instance_id not in self.world.instances:
            message = f"The instance ID '{instance_id}' does not exist"
            raise AwsError("InvalidInstanceID.NotFound", message)
        return self.world.instances[instance_id]

    def serves(self, instance: Instance) -> bool:
        return self.is_reachable(instance) and self.hosts.serves(instance, self.now)

    def listens(self, instance: Instance) -> bool:
        """Whether its SSM agent is connected."""
        online = instance.agent == "Online" and self.hosts.answers(instance, self.now)
        return online and self.is_reachable(instance)

    def is_reachable(self, instance: Instance) -> bool:
        """Whether every interface has a security group that lets something in."""
        groups = self.world.security_groups
        return all(
            any(groups[name].ingress for name in names if name in groups)
            for names in instance.interfaces.values()
        )

    def boot(self, instance: Instance, seconds: float) -> None:
        """Its processes end; the system answers after so long."""
        instance.boots += 1
        instance.hung, instance.up_at = False, self.now + seconds


def moment(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
