"""A host of no group, and the group `web` of six, on the emulated AWS."""

from collections.abc import Callable

from actions.catalog.ssm.capture import DOCUMENT
from demo.aws.calls import Call
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Timings
from demo.aws.world import Group, Instance

HOST, GROUP = "i-0123456789abcdef0", "web"
_READS = ("Describe", "List", "Get", "Lookup")


def emulated_aws(clock: Callable[[], float], speed: float = 1.0) -> Emulator:
    """Its own changes take seconds, or less by `speed`."""
    aws = Emulator(Core(clock, Timings().faster(speed)), watched=is_act)
    populate(aws)
    return aws


def is_act(call: Call) -> bool:
    """Not a command that captures evidence before an act: most tests are of acts alone."""
    return call.parameters.get("DocumentName") != DOCUMENT


def populate(aws: Emulator) -> None:
    """A world of its own, without faults and without calls."""
    aws.core.start_over()
    aws.world.instances[HOST] = Instance(HOST)
    aws.world.add_group(Group(GROUP, 4, 12, 6), [f"i-{number:017x}" for number in range(6)], 0.0)
    aws.trouble = lambda *_: None
    aws.log.clear()


def failing(error: BaseException, *, executes: bool = True) -> Callable[[str, str], None]:
    """The error of every call that changes something, executed or not."""

    def trouble(operation: str, when: str) -> None:
        if not operation.startswith(_READS) and when == ("after" if executes else "before"):
            raise error

    return trouble
