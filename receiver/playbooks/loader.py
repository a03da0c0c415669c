"""Playbooks: which alerts, how far, and the ladder of steps, from a folder of YAML files.

Every fault of a file is reported with its line. A folder with a fault is not used at all: half a
set of playbooks would match other alerts than the whole.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from actions.catalog.registry import CATALOG
from receiver.playbooks.schema import EXAMPLES, Playbook, filled
from receiver.playbooks.yaml_source import Lines, YamlError, read


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault of a file; `line` counts from 1."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class PlaybookErrors(Exception):  # noqa: N818 it carries many
    """The folder cannot be used; `findings` say why, file by file."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


@dataclass(frozen=True)
class Playbooks:
    """All playbooks, by the names of their files."""

    items: Sequence[Playbook]

    def matching(self, labels: Mapping[str, str]) -> Sequence[Playbook]:
        """Those whose matchers all fit. More than one is ambiguous, and the caller must refuse."""
        alertname = labels.get("alertname", "")
        places = sorted((*self._by_alert.get(alertname, ()), *self._by_alert.get(None, ())))
        return [self.items[place] for place in places if self.items[place].matches(labels)]

    @cached_property
    def _by_alert(self) -> Mapping[str | None, Sequence[int]]:
        """Places of those for one alert name, by it; of all others under None."""
        found: defaultdict[str | None, list[int]] = defaultdict(list)
        for place, playbook in enumerate(self.items):
            found[playbook.alertname].append(place)
        return dict(found)

    def named(self, name: str) -> Sequence[Playbook]:
        """The one of that name, or none."""
        return [playbook for playbook in self.items if playbook.name == name]


def load(folder: Path) -> Playbooks:
    """All `*.yaml` files right in the folder. Raises PlaybookErrors with every fault found."""
    if not folder.is_dir():
        said = "there is no such folder; SMARTCLOUDOPS_PLAYBOOKS names another one"
        raise PlaybookErrors([Finding(file=folder, line=1, message=said)])
    findings: list[Finding] = []
    items: list[Playbook] = []
    owners: dict[str, Path] = {}
    for file in sorted(folder.glob("*.y*ml")):
        if file.suffix != ".yaml":
            findings.append(Finding(file=file, line=1, message="name it .yaml to have it loaded"))
            continue
        playbook, lines, faults = _load(file)
        findings += faults
        if playbook is None:
            continue
        if playbook.name in owners:
            message = f"the name {playbook.name} is taken by {owners[playbook.name].name}"
            findings.append(Finding(file=file, line=lines.of(("name",)), message=message))
        owners.setdefault(playbook.name, file)
        items.append(playbook)
    if not items and not findings:
        findings.append(Finding(file=folder, line=1, message="there is no playbook in it"))
    if findings:
        raise PlaybookErrors(findings)
    return Playbooks(items)


def _load(file: Path) -> tuple[Playbook | None, Lines, list[Finding]]:
    try:
        value, lines = read(file)
    except YamlError as error:
        return None, Lines(None), [Finding(file=file, line=error.line, message=error.message)]
    try:
        playbook = Playbook.model_validate(value)
    except ValidationError as error:
        return None, lines, list(findings(file, lines, (), error))
    return playbook, lines, list(_misfits(file, lines, playbook))


def _misfits(file: Path, lines: Lines, playbook: Playbook) -> Iterator[Finding]:
    """Parameters that are not what their action takes."""
    parts: list[tuple[tuple[str | int, ...], str, Mapping[str, Any]]] = []
    for number, step in enumerate(playbook.steps):
        parts.append((("steps", number), step.action, step.params))
        parts += [
            (("steps", number, "before", place), one.action, one.params)
            for place, one in enumerate(step.before)
        ]
    parts += [
        (("escalate", number), one.action, one.params)
        for number, one in enumerate(playbook.escalate)
    ]
    for where, action, params in parts:
        try:
            CATALOG[action].params.model_validate(filled(params, EXAMPLES))
        except ValidationError as error:
            yield from findings(file, lines, (*where, "params"), error)


def findings(
    file: Path, lines: Lines, inside: tuple[str | int, ...], error: ValidationError
) -> Iterator[Finding]:
    """One a fault of a file, with its line."""
    seen: set[tuple[int, str]] = set()
    for fault in error.errors(include_url=False, include_input=False):
        where = (*inside, *fault["loc"])
        name = str(where[-1] if fault["type"] == "missing" else lines.named(where))
        line = lines.of(where)
        # A value that fits none of several types is one fault, however many they are.
        if (line, name) not in seen:
            seen.add((line, name))
            message = fault["msg"].removeprefix("Value error, ")
            yield Finding(file=file, line=line, message=f"{name}: {message}")
