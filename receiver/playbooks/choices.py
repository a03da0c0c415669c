"""Parameters that a label of the alert chooses, from a list that the playbook closes.

`{from: name, one_of: [nginx, app]}` takes the label's text if it is listed; with
`one_of: {nginx.service: nginx}` each listed text stands for a value. So nobody who can fire an
alert brings a text of their own into a command.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

_KEYS = frozenset({"from", "one_of"})


class NotListedError(Exception):
    """The alert's label has no listed text; the error names both."""


def check_choices(value: Any) -> Any:
    """Return the value. Raises ValueError for a choice that is not well-formed, at any depth."""
    match value:
        case {"from": label, "one_of": listed} if value.keys() == _KEYS:
            texts = [*listed] if isinstance(listed, (list, Mapping)) else []
            if not isinstance(label, str) or not texts or not all(map(_is_text, texts)):
                raise ValueError("a choice is {from: LABEL, one_of: [TEXT, ...]}")
        case Mapping():
            for item in value.values():
                check_choices(item)
        case list():
            for item in value:
                check_choices(item)
    return value


def variants(value: Any) -> Iterator[Any]:
    """The value with each listed text in place of its choices, at any depth."""
    match value:
        case Mapping() if value.keys() == _KEYS:
            values = list(_listed(value).values())
            yield from (each for at, each in enumerate(values) if each not in values[:at])
        case Mapping():
            for items in product(*(list(variants(item)) for item in value.values())):
                yield dict(zip(value, items, strict=True))
        case list():
            for items in product(*(list(variants(item)) for item in value)):
                yield list(items)
        case _:
            yield value


def chosen(value: Any, labels: Mapping[str, str]) -> Any:
    """The value with its choices made by the alert's labels. Raises NotListedError."""
    match value:
        case Mapping() if value.keys() == _KEYS:
            label, listed = value["from"], _listed(value)
            text = labels.get(label, "")
            if text not in listed:
                raise NotListedError(
                    f"the label {label} has {text!r}, and not one of {', '.join(listed)}"
                )
            return listed[text]
        case Mapping():
            return {name: chosen(item, labels) for name, item in value.items()}
        case list():
            return [chosen(item, labels) for item in value]
    return value


def _listed(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    listed = choice["one_of"]
    return listed if isinstance(listed, Mapping) else {text: text for text in listed}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
