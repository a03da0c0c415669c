"""Filters and pages of Describe calls."""

from collections.abc import Iterable, Mapping
from typing import Any

from demo.aws.world import AwsError


def matches(filters: Iterable[Mapping[str, Any]], fields: Mapping[str, object]) -> bool:
    """Whether every filter (`Name`, `Values`) of a Describe call fits. Raises AwsError."""
    for condition in filters:
        name, values = condition["Name"], condition["Values"]
        if name.startswith("tag:") and name not in fields:
            return False
        if name not in fields:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
        if str(fields[name]) not in values:
            return False
    return True


def page(
    items: list[dict[str, Any]], request: Mapping[str, Any], size: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One page of a list, and the token of the next as a parameter of the answer."""
    first = int(request.get("NextToken") or 0)
    most = int(request.get("MaxResults") or request.get("MaxRecords") or size)
    more = {"NextToken": str(first + most)} if len(items) > first + most else {}
    return items[first : first + most], more
