"""Generates the reference pages, the playbooks' JSON Schema and the model's figures.

`python -m receiver.cli.reference.generate` writes them; tests fail when they are out of date.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from actions.base import Action
from actions.catalog.registry import CATALOG
from models.inference import artifact
from models.training.model_card import render_figures
from receiver.cli.reference.pages import (
    CALLS_PAGE,
    PACKAGES_PAGE,
    PUBLIC_PAGE,
    SETTINGS_PAGE,
    calls_page,
    packages_page,
    public_page,
    settings_page,
)
from receiver.cli.reference.refusals import REASONS, REFUSALS_PAGE, reasons_module, refusals_page
from receiver.incidents import cloudevents
from receiver.incidents.view import IncidentView
from receiver.playbooks.schema import Playbook

ACTIONS_PAGE, SCHEMA = Path("docs/actions.md"), Path("playbooks/schema.json")
FIGURES_PAGE = Path("docs/model-figures.md")
INCIDENT_SCHEMA = Path("docs/incident-schema.json")
_HEAD = """# Actions

These are the actions that a playbook's steps can use. This page is generated from the code
(`make reference`).

The *impact* of an action is one of four. A **harmless** action changes nothing in AWS. A
**reversible** one can be rolled back and loses nothing. A **disruptive** one takes the target out
of service for a while. A **destructive** one loses something for ever. Two calls of an *idempotent*
action have the effect of one. Any other action is called at most once: if the answer is lost and
AWS does not show the effect, the outcome is `unknown`, and the run escalates unless the target
recovers.

Demo and tests use an emulated AWS that follows AWS's guides. The catalogue is also tested on
[ministack](https://pypi.org/project/ministack/), an emulator by others.
Where they differ, the API references of
[EC2](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/),
[Elastic Load Balancing](https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/) and
[Auto Scaling](https://docs.aws.amazon.com/autoscaling/ec2/APIReference/) say who is right:

| what | the emulated AWS | ministack | AWS |
|---|---|---|---|
| the filters of DescribeNetworkInterfaces | honoured | ignored | honoured |
| one instance registered on two ports | 2 targets | 1 targets | 2 targets |
| a target just deregistered | draining | gone | draining |
| a capacity beyond the maximum | refused | accepted | refused |
| an instance just told to stop | stopping | stopped | stopping |
| a refresh just begun | Pending | Successful | Pending |

ministack lacks `AttachInstances`, `CancelCommand`, `CancelZonalShift`, `DetachInstances`,
`EnterStandby`, `ExitStandby`, `ModifyNetworkInterfaceAttribute`, `ResumeProcesses`,
`RollbackInstanceRefresh`, `SetInstanceHealth`, `StartZonalShift`, `SuspendProcesses`,
`TerminateInstanceInAutoScalingGroup`.
"""
_FIGURES_HEAD = """# The model's figures

This page is generated from the shipped model's card (`make reference`). The figures are
cross-fitted by machine in six folds: training, thresholds and calibration use only other machines.
The weights that combine the scorers were chosen on all machines, so expect slightly lower figures.
[The model](model.md#figures) names the goals that are missed.
"""


def actions_page() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_section(CATALOG[name]) for name in sorted(CATALOG))])


# A param that a label of the alert chooses.
_CHOICE = {
    "type": "object",
    "required": ["from", "one_of"],
    "properties": {"from": {"type": "string"}, "one_of": {"type": ["array", "object"]}},
    "additionalProperties": False,
}


def playbook_schema() -> Mapping[str, Any]:
    """The JSON Schema of a playbook, with each action's own parameters."""
    schema = Playbook.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "SmartCloudOps playbook"
    for part in ("Step", "EscalationStep"):
        schema["$defs"][part]["properties"]["action"]["enum"] = sorted(CATALOG)
        schema["$defs"][part]["allOf"] = list(_params(may_choose=part == "Step"))
    return schema


def incident_schema() -> Mapping[str, Any]:
    """The JSON Schema of the data of an incident's event."""
    own = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": cloudevents.SCHEMA}
    return own | TypeAdapter(IncidentView).json_schema(mode="serialization")


def figures_page() -> str:
    """The page, in Markdown, from the shipped model's card."""
    return f"{_FIGURES_HEAD}\n{render_figures(artifact.read_card(artifact.SHIPPED))}\n"


def _params(*, may_choose: bool) -> Iterator[dict[str, Any]]:
    for name in sorted(CATALOG):
        params = CATALOG[name].params.model_json_schema()
        if may_choose and "properties" in params:
            params["properties"] = {
                key: {"anyOf": [value, _CHOICE]} for key, value in params["properties"].items()
            }
        yield {
            "if": {"properties": {"action": {"const": name}}},
            "then": {"properties": {"params": params}},
        }


def _section(action: Action) -> str:
    module = inspect.getmodule(action)
    undone = f"`{action.undone_by}`" if action.undone_by else "nothing"
    facts = [
        f"- target: {action.target}",
        f"- impact: {action.impact}{', takes the target out of service' * action.removes_capacity}",
        f"- idempotent: {'yes' if action.idempotent else 'no'}",
        f"- rolled back by: {undone}{', when the run ends' * action.released_at_end}",
    ]
    if action.removes_members:
        facts.append("- may take any instance of the group out of service")
    if action.needs_approval:
        facts.append("- a person must approve each use")
    names = ", ".join(f"`{name}`" for name in sorted(action.permissions)) or "none"
    facts.append(f"- permissions: {names}")
    text = inspect.getdoc(module) or ""
    return f"## {action.name}\n\n{text}\n\n" + "\n".join(facts) + "\n"


def main(root: Path) -> None:
    (root / ACTIONS_PAGE).write_text(actions_page())
    (root / SETTINGS_PAGE).write_text(settings_page())
    (root / CALLS_PAGE).write_text(calls_page())
    (root / PACKAGES_PAGE).write_text(packages_page(root))
    (root / PUBLIC_PAGE).write_text(public_page(root))
    (root / FIGURES_PAGE).write_text(figures_page())
    (root / REFUSALS_PAGE).write_text(refusals_page(root))
    (root / REASONS).write_text(reasons_module(root))
    (root / INCIDENT_SCHEMA).write_text(
        json.dumps(incident_schema(), indent=2, sort_keys=True) + "\n"
    )
    (root / SCHEMA).write_text(json.dumps(playbook_schema(), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
