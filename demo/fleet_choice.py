"""Whether the demo breaks real machines or simulated instances."""

from collections.abc import Callable, Mapping

from demo.machines import image, programs
from demo.stack import haproxy

# Six incidents need a machine each that is well and was not acted on.
_MACHINES = {"web-asg": 6, "api-asg": 2}


def choose_machines(fleet: str | None, say: Callable[[str, str], None]) -> Mapping[str, int]:
    """The sizes of groups of real machines; none where the fleet is simulated.

    Raises ToolsError where real ones are asked for and do not start.
    """
    if fleet != "machines":
        say("fleet", "simulated; FLEET=machines breaks real Linux kernels (x86-64 Linux)")
        return {}
    image.require(programs.require())
    haproxy.require()
    say("fleet", "real Linux kernels; FLEET=simulated goes without them")
    return _MACHINES
