"""Every action there is, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from actions.action import Action
from actions.reboot_instance import RebootInstance
from actions.set_desired_capacity import SetDesiredCapacity

_ACTIONS: tuple[Action, ...] = (RebootInstance(), SetDesiredCapacity())

CATALOG: Mapping[str, Action] = MappingProxyType({action.name: action for action in _ACTIONS})
