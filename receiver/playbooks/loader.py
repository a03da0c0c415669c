"""Loads the playbooks of a folder of YAML files.

Every fault of a file is reported with its line. A folder with a fault is refused as a whole,
because an alert that several playbooks match might match only one of the playbooks that load.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from actions.catalog.registry import CATALOG
from receiver.playbooks.choices import variants
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.schema import Playbook
from receiver.playbooks.yaml_source import Lines, YamlError, read
from receiver.settings import NODE_JOB

_JOB = re.compile(r"(?<!\$)\$(?:job\b|\{job\})")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault of a file; `line` counts from 1."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class _Placed(NamedTuple):
    """A playbook, and its place in the order of all."""

    place: int
    playbook: Playbook


class InvalidFilesError(Exception):
    """Files of the configuration cannot be used; `findings` has the faults of each."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


class InvalidPlaybooksError(InvalidFilesError):
    """The folder's playbooks cannot be used."""


@dataclass
class Playbooks:
    """All playbooks, in the order of their files' names; `take_over` may replace all of them."""

    items: Sequence[Playbook]
    # By their single alert name; those without one under None.
    _by_alert: Mapping[str | None, Sequence["_Placed"]] = field(init=False)

    def __post_init__(self) -> None:
        self._by_alert = _place(self.items)

    def matching(self, labels: Mapping[str, str]) -> Sequence[Playbook]:
        """Playbooks whose matchers all match. If there are several, the caller must refuse."""
        alertname, by_alert = labels.get("alertname", ""), self._by_alert
        found = sorted((*by_alert.get(alertname, ()), *by_alert.get(None, ())))
        return [playbook for _, playbook in found if playbook.matches(labels)]

    def take_over(self, newer: "Playbooks") -> None:
        """Replace the playbooks at once: a reader sees all old ones or all new ones."""
        self.items, self._by_alert = newer.items, _place(newer.items)

    def named(self, name: str) -> Sequence[Playbook]:
        """The playbook with this name, or None."""
        return [playbook for playbook in self.items if playbook.name == name]


def _place(playbooks: Sequence[Playbook]) -> Mapping[str | None, Sequence[_Placed]]:
    placed: defaultdict[str | None, list[_Placed]] = defaultdict(list)
    for place, playbook in enumerate(playbooks):
        placed[playbook.alertname].append(_Placed(place, playbook))
    return dict(placed)


def load(folder: Path, job: str = NODE_JOB) -> Playbooks:
    """Load all `*.yaml` files of the folder, with `job` for `$job`.

    Raises InvalidPlaybooksError with every fault.
    """
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
        playbook, lines, faults = load_file(file, job)
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


def load_file(file: Path, job: str = NODE_JOB) -> tuple[Playbook | None, Lines, list[Finding]]:
    """Load a file. Returns its playbook or None, its lines and its faults."""
    try:
        value, lines = read(file)
    except YamlError as error:
        return None, Lines(None), [Finding(file=file, line=error.line, message=error.message)]
    try:
        playbook = Playbook.model_validate(_with_job(value, job))
    except ValidationError as error:
        return None, lines, list(findings(file, lines, (), error))
    return playbook, lines, list(_wrong_parameters(file, lines, playbook))


def _with_job(value: Any, job: str) -> Any:
    """The value with the job of node_exporter for `$job` in its texts, at any depth."""
    match value:
        case str():
            return _JOB.sub(lambda _: job, value)
        case Mapping():
            return {key: _with_job(item, job) for key, item in value.items()}
        case list():
            return [_with_job(item, job) for item in value]
    return value


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
        for variant in variants(params):
            try:
                CATALOG[action].params.model_validate(render(variant, EXAMPLES))
            except ValidationError as error:
                yield from findings(file, lines, (*path, "params"), error)
                break


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
