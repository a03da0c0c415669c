"""Whether the demo breaks real machines or simulated instances."""

import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from demo.machines import image, programs
from demo.stack import haproxy
from demo.stack.debian import FOLDER, ToolsError

# Five incidents of the first group need a machine each that is well and was not acted on.
_MACHINES = {"web-asg": 6, "api-asg": 2}


def choose_machines(
    fleet: str | None,
    say: Callable[[str, str], None],
    *,
    folder: Path = FOLDER,
    architecture: str = platform.machine(),
) -> Mapping[str, int]:
    """The sizes of groups of real machines; none where the fleet is simulated.

    `fleet` is "machines" or "simulated"; without it machines where they start, with what is in the
    `folder` or can be fetched. Raises ToolsError where machines are asked for and do not start.
    """
    if fleet == "simulated":
        say("fleet", "simulated instances, as FLEET=simulated asks for")
        return {}
    try:
        found = programs.require(folder=folder, architecture=architecture)
        image.require(found, folder=folder)
        haproxy.require(folder=folder)
    except ToolsError as error:
        if fleet == "machines":
            raise
        reason = str(error).removesuffix(f": {programs.HINT}")
        say("fleet", f"simulated instances, because real machines do not start here: {reason}")
        return {}
    say("fleet", "real Linux kernels; FLEET=simulated goes without them")
    return _MACHINES
