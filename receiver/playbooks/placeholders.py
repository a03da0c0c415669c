"""Placeholders such as `$instance_id` in a playbook's queries, parameters and messages."""

import string
from collections.abc import Mapping
from typing import Any

# The known placeholders, each with an example that `check` uses. None of them is a label's text,
# which anyone who can fire an alert may choose.
EXAMPLES = {
    "instance_id": "i-0123456789abcdef0",
    "asg": "web-asg",
    "run_id": "0" * 26,
    "playbook": "playbook",
}


def check_placeholders(value: object) -> object:
    """Return the value. Raises ValueError for an unknown placeholder at any depth."""
    if isinstance(value, str):
        template = string.Template(value)
        if not template.is_valid() or set(template.get_identifiers()) - EXAMPLES.keys():
            names = ", ".join(f"${name}" for name in sorted(EXAMPLES))
            raise ValueError(f"the only placeholders are {names}; write $$ for a dollar sign")
    elif isinstance(value, Mapping):
        for item in value.values():
            check_placeholders(item)
    elif isinstance(value, list):
        for item in value:
            check_placeholders(item)
    return value


def render(value: object, values: Mapping[str, str]) -> Any:
    """The value with its placeholders replaced, at any depth."""
    if isinstance(value, str):
        return string.Template(value).substitute(values)
    if isinstance(value, Mapping):
        return {key: render(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, values) for item in value]
    return value
