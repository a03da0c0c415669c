"""What a group cannot do while its processes are suspended is refused by name."""

from typing import Any

import pytest

from actions.aws.target_errors import NotActionableError
from actions.base import Call
from actions.catalog.registry import CATALOG
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, World

# The processes that an action needs.
_NEEDED = {
    "replace_instance": ("Launch", "Terminate", "AddToLoadBalancer"),
    "set_desired_capacity": ("Launch",),
    "scale_in": ("Terminate",),
    "exit_standby": ("Launch",),
    "attach_instance": ("Launch",),
    "start_instance_refresh": ("Launch", "Terminate", "InstanceRefresh"),
}


def _observe(world: World, action: str, target: str, params: dict[str, Any], **more: Any) -> None:
    call = Call(
        aws=world.aws, messenger=world.messenger, target=target, params=params, token="t/0", **more
    )
    CATALOG[action].bind(call)
    CATALOG[action].observe(call)


@pytest.mark.parametrize(
    ("action", "process"),
    [(action, process) for action, names in _NEEDED.items() for process in names],
)
def test_it_is_refused_while_what_it_needs_is_suspended(action: str, process: str) -> None:
    """And is not, while anything else is."""
    world = World()
    case = next(case for case in CASES if case.action == action)
    target = GROUP if case.of_group else world.in_service()[0]
    case.before(world, target)
    everything = {"Launch", "Terminate", "AddToLoadBalancer", "InstanceRefresh", "AZRebalance"}
    world.group.suspended = everything - set(_NEEDED[action])
    _observe(world, action, target, case.params(world))
    world.group.suspended = {process}
    with pytest.raises(NotActionableError, match=f"{GROUP} has suspended {process}: resume it"):
        _observe(world, action, target, case.params(world))
    world.group.suspended = set()
    world.group.status = "Delete in progress"
    with pytest.raises(NotActionableError, match=f"{GROUP} is being deleted"):
        _observe(world, action, target, case.params(world))


@pytest.mark.parametrize(("action", "desired"), [("set_desired_capacity", 8), ("scale_in", 5)])
def test_a_rollback_restores_the_desired_capacity_all_the_same(action: str, desired: int) -> None:
    """The group gets there when the process is resumed."""
    world = World()
    world.group.suspended = {"Launch", "Terminate"}
    _observe(world, action, GROUP, {"desired": desired}, reverses=True)
