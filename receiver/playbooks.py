"""Playbooks: which alerts, how far, and the ladder of steps, from a folder of YAML files.

Every fault of a file is reported with its line. A folder with a fault is not used at all: half a
set of playbooks would match other alerts than the whole.
"""

import difflib
import hashlib
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from actions.audit import canonical
from actions.catalog import CATALOG
from receiver.conditions import Condition, condition
from receiver.matchers import Matcher, parse
from receiver.settings import Mode
from receiver.yaml_lines import Lines, YamlError, read

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_PLACEHOLDERS = frozenset({"instance_id", "asg"})


def _seconds(value: object) -> object:
    """Prometheus' durations ("90s", "5m", "1h30m") in seconds."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value)
    if not value or found is None:
        raise ValueError(f"{value!r} is no duration such as 90s, 5m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _matcher(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


def _condition(value: object) -> object:
    return condition(value) if isinstance(value, str) else value


def _action(value: object) -> object:
    if isinstance(value, str) and value not in CATALOG:
        near = difflib.get_close_matches(value, CATALOG, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(CATALOG)}"
        raise ValueError(f"unknown action {value!r}{hint}")
    return value


def _promql(value: object) -> object:
    if isinstance(value, str):
        named = string.Template(value).get_identifiers()
        unknown = sorted(set(named) - _PLACEHOLDERS)
        if unknown or not string.Template(value).is_valid():
            known = ", ".join(f"${name}" for name in sorted(_PLACEHOLDERS))
            raise ValueError(f"only these are filled in: {known}; write $$ for a dollar sign")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=str), Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Step(_Part):
    """One rung of the ladder: taken where `when` holds, and nothing before it was."""

    action: Annotated[str, BeforeValidator(_action)]
    params: dict[str, Any] = Field(default_factory=dict)
    when: Annotated[Condition, BeforeValidator(_condition, json_schema_input_type=str)] | None = (
        None
    )


class Verify(_Part):
    """A PromQL condition (`x < bool 0.85`) that must hold for `for`, within `timeout`."""

    expr: Annotated[str, BeforeValidator(_promql), StringConstraints(min_length=1)]
    for_s: Annotated[Seconds, Field(alias="for")] = 15.0
    timeout_s: Annotated[Seconds, Field(alias="timeout")] = 180.0

    def bound(self, *, instance_id: str, asg: str) -> str:
        """The condition for one target; both have passed the pattern of an id or a name."""
        return string.Template(self.expr).substitute(
            instance_id=_quotable(instance_id), asg=_quotable(asg)
        )


class Playbook(_Part):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    description: str = ""
    match: Annotated[
        list[Annotated[Matcher, BeforeValidator(_matcher, json_schema_input_type=str)]],
        Field(min_length=1),
    ]
    mode: Mode = Mode.OBSERVE
    cooldown_s: Annotated[Seconds, Field(alias="cooldown")] = 300.0
    steps: Annotated[list[Step], Field(min_length=1, max_length=10)]
    verify: Verify | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what the playbook says, whatever its layout."""
        said = self.model_dump(mode="python", exclude={"match", "steps"})
        said["match"] = [str(matcher) for matcher in self.match]
        said["steps"] = [
            {"action": step.action, "params": step.params, "when": str(step.when or "")}
            for step in self.steps
        ]
        return hashlib.sha256(canonical(said).encode()).hexdigest()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.match)


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
        return [playbook for playbook in self.items if playbook.matches(labels)]


def load(folder: Path) -> Playbooks:
    """All `*.yaml` files right in the folder. Raises PlaybookErrors with every fault found."""
    if not folder.is_dir():
        raise PlaybookErrors([Finding(file=folder, line=1, message="there is no such folder")])
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
        return None, lines, list(_findings(file, lines, (), error))
    return playbook, lines, list(_misfits(file, lines, playbook))


def _misfits(file: Path, lines: Lines, playbook: Playbook) -> Iterator[Finding]:
    """Parameters that are not what their action takes."""
    for number, step in enumerate(playbook.steps):
        try:
            CATALOG[step.action].params.model_validate(step.params)
        except ValidationError as error:
            yield from _findings(file, lines, ("steps", number, "params"), error)


def _findings(
    file: Path, lines: Lines, inside: tuple[str | int, ...], error: ValidationError
) -> Iterator[Finding]:
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


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
