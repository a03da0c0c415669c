"""Loads the playbooks of a folder of YAML files.

Every fault of a file is reported with its line. A folder with a fault is refused as a whole,
because an alert that several playbooks match might match only one of the playbooks that load.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from actions.catalog.registry import CATALOG
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.schema import Playbook
from receiver.playbooks.yaml_source import Lines, YamlError, read


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault of a file; `line` counts from 1."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class InvalidPlaybooksError(Exception):
    """The folder cannot be used; `findings` has the faults of each file."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


@dataclass(frozen=True)
class Playbooks:
    """All playbooks, in the order of their files' names."""

    items: Sequence[Playbook]

    def matching(self, labels: Mapping[str, str]) -> Sequence[Playbook]:
        """Playbooks whose matchers all match. If there are several, the caller must refuse."""
        alertname = labels.get("alertname", "")
        indices = sorted((*self._by_alert.get(alertname, ()), *self._by_alert.get(None, ())))
        return [self.items[index] for index in indices if self.items[index].matches(labels)]

    @cached_property
    def _by_alert(self) -> Mapping[str | None, Sequence[int]]:
        """Indices of the playbooks by their single alert name; those without one under None."""
        indices: defaultdict[str | None, list[int]] = defaultdict(list)
        for index, playbook in enumerate(self.items):
            indices[playbook.alertname].append(index)
        return dict(indices)

    def named(self, name: str) -> Sequence[Playbook]:
        """The playbook with this name, or None."""
        return [playbook for playbook in self.items if playbook.name == name]


def load(folder: Path) -> Playbooks:
    """Load all `*.yaml` files of the folder. Raises InvalidPlaybooksError with every fault."""
    if not folder.is_dir():
        message = "no such folder; set SMARTCLOUDOPS_PLAYBOOKS to the folder of playbooks"
        raise InvalidPlaybooksError([Finding(file=folder, line=1, message=message)])
    findings: list[Finding] = []
    items: list[Playbook] = []
    owners: dict[str, Path] = {}
    for file in sorted(folder.glob("*.y*ml")):
        if file.suffix != ".yaml":
            findings.append(
                Finding(file=file, line=1, message="only *.yaml is loaded; rename the file")
            )
            continue
        playbook, lines, faults = load_file(file)
        findings += faults
        if playbook is None:
            continue
        if playbook.name in owners:
            message = f"the name {playbook.name} is already used in {owners[playbook.name].name}"
            findings.append(Finding(file=file, line=lines.of(("name",)), message=message))
        owners.setdefault(playbook.name, file)
        items.append(playbook)
    if not items and not findings:
        findings.append(Finding(file=folder, line=1, message="the folder has no playbook (*.yaml)"))
    if findings:
        raise InvalidPlaybooksError(findings)
    return Playbooks(items)


def load_file(file: Path) -> tuple[Playbook | None, Lines, list[Finding]]:
    """Load a file. Returns its playbook or None, its lines and its faults."""
    try:
        value, lines = read(file)
    except YamlError as error:
        return None, Lines(None), [Finding(file=file, line=error.line, message=error.message)]
    try:
        playbook = Playbook.model_validate(value)
    except ValidationError as error:
        return None, lines, list(findings(file, lines, (), error))
    return playbook, lines, list(_wrong_parameters(file, lines, playbook))


def _wrong_parameters(file: Path, lines: Lines, playbook: Playbook) -> Iterator[Finding]:
    """Findings of parameters that an action does not accept."""
    parts: list[tuple[tuple[str | int, ...], str, Mapping[str, Any]]] = []
    for number, step in enumerate(playbook.steps):
        parts.append((("steps", number), step.action, step.params))
        parts += [
            (("steps", number, "before", index), before.action, before.params)
            for index, before in enumerate(step.before)
        ]
    parts += [
        (("escalate", number), escalation.action, escalation.params)
        for number, escalation in enumerate(playbook.escalate)
    ]
    for path, action, params in parts:
        try:
            CATALOG[action].params.model_validate(render(params, EXAMPLES))
        except ValidationError as error:
            yield from findings(file, lines, (*path, "params"), error)


def findings(
    file: Path, lines: Lines, prefix: tuple[str | int, ...], error: ValidationError
) -> Iterator[Finding]:
    """A finding for each fault of a file, with its line; `prefix` leads to the faulty part."""
    seen: set[tuple[int, str]] = set()
    for fault in error.errors(include_url=False, include_input=False):
        path = (*prefix, *fault["loc"])
        name = str(path[-1] if fault["type"] == "missing" else lines.named(path))
        line = lines.of(path)
        # A value that fits none of several types counts as one fault.
        if (line, name) not in seen:
            seen.add((line, name))
            message = fault["msg"].removeprefix("Value error, ")
            yield Finding(file=file, line=line, message=f"{name}: {message}")
