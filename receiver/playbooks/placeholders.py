"""Placeholders such as `$instance_id` in a playbook's queries, parameters and messages."""

import string
from collections.abc import Mapping
from typing import Any

# The known placeholders, each with an example that `check` uses. None of them is a label's text,
# which anyone who can fire an alert may choose.
EXAMPLES = {
    "instance_id": "i-0123456789abcdef0",
    "asg": "web-asg",
    # The matchers of the target's series, by the labels that these have.
    "selector": 'instance_id="i-0123456789abcdef0"',
    # The matchers of its group's series, and the label that tells these apart.
    "members": 'asg="web-asg"',
    "host": "instance_id",
    "run_id": "0" * 26,
    "playbook": "playbook",
    # The launch template and version that the group was seen healthy with last.
    "healthy_version": "lt-0123456789abcdef0/1",
}


# Texts that stand for a value that people have yet to fill in.
_LATER = frozenset(
    {"changeme", "change-me", "change_me", "fixme", "replace-me", "tbd", "todo", "xxx"}
)
_COUNTED = frozenset({"12345678", "123456789012", "1234567890abcdef0", "0123456789abcdef0"})
# An id of AWS has at least this many digits.
_DIGITS_LEAST = 8


def check_own_values(value: object) -> object:
    """Return the value, if no text in it, at any depth, stands for a value to fill in.

    Raises ValueError.
    """
    if isinstance(value, str):
        if _is_to_be_filled_in(value):
            raise ValueError(f"{value!r} is an example: write the value of your own account")
    elif isinstance(value, Mapping):
        for item in (*value, *value.values()):
            check_own_values(item)
    elif isinstance(value, list):
        for item in value:
            check_own_values(item)
    return value


def _is_to_be_filled_in(text: str) -> bool:
    word = text.strip().lower()
    in_brackets = word.startswith("<") and word.endswith(">")
    if word in _LATER or in_brackets or word.startswith("your-"):
        return True
    # Ids of resources and accounts: sg-00000000, arn:aws:sns:eu-west-1:123456789012:oncall.
    parts = word.replace(":", "-").replace("/", "-").split("-")
    return any(
        part in _COUNTED or (len(part) >= _DIGITS_LEAST and len(set(part)) == 1) for part in parts
    )


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


def names_in(value: object) -> set[str]:
    """The placeholders of the value's texts at any depth."""
    match value:
        case str():
            return set(string.Template(value).get_identifiers())
        case Mapping():
            return names_in(list(value.values()))
        case list():
            return set().union(*map(names_in, value))
    return set()


def render(value: object, values: Mapping[str, str]) -> Any:
    """The value with its placeholders replaced, at any depth."""
    if isinstance(value, str):
        return string.Template(value).substitute(values)
    if isinstance(value, Mapping):
        return {key: render(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, values) for item in value]
    return value
