"""Matchers of labels as the form of an override takes them."""

from collections.abc import Mapping


def equal_matchers(labels: Mapping[str, str]) -> str:
    """`name="value"` for each label with a value, separated by commas."""
    return ", ".join(f'{name}="{_quotable(value)}"' for name, value in labels.items() if value)


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
