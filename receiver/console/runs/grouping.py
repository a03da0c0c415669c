"""Listed runs by what they have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = ("alertname", "asg", "instance_id")


def group_runs(listed: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs of the same alert, group and state together, so that a storm is one row."""
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in listed:
        alertname = run["alert"]["labels"].get("alertname")
        of_group = run["group"] or run["target"] or run["id"]
        by = (alertname, of_group, run["account"], run["region"], run["state"], run["playbook"])
        grouped.setdefault(by, []).append(run)
    return list(grouped.values())


def common_labels(listed: Sequence[dict[str, Any]]) -> Mapping[str, str]:
    """The labels that name alert, group and instance, where all runs have the same value."""
    every = [run["alert"]["labels"] for run in listed]
    values = {name: {labels.get(name, "") for labels in every} for name in _NAMES}
    return {name: next(iter(of)) for name, of in values.items() if len(of) == 1}
