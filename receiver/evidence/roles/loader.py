"""Loads the exporters of a folder of YAML files, such as the shipped `roles.d/`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from models.features.signals import ROLES
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.evidence.roles.promql import LATEST, substitute
from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.promql.measure import PromqlError, parse, selectors
from receiver.playbooks.yaml_source import YamlError, read

# Stands for the matchers of a host.
_HOST = "instance_id", "i-0123456789abcdef0"
# The role without which the model judges nothing.
_NEEDED = "cpu_busy"


class InvalidRolesError(InvalidFilesError):
    """The folder cannot be used."""


def _check_expr(text: str) -> str:
    """Return PromQL of which each selector has the host's matchers. Raises ValueError."""
    try:
        expr = parse(substitute(text, f'{_HOST[0]}="{_HOST[1]}"', LATEST))
    except (PromqlError, KeyError, ValueError) as error:
        known = "the placeholders are $of, $window, $counter and $gauge"
        raise ValueError(str(error) if isinstance(error, PromqlError) else known) from None
    for selector in selectors(expr):
        matchers = {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
        if _HOST not in matchers:
            raise ValueError(f"{selector.name or 'a selector'} lacks $of: it reads every host")
    return text


def _check_roles(roles: Mapping[str, str]) -> Mapping[str, str]:
    if unknown := sorted(roles.keys() - ROLES.keys()):
        raise ValueError(f"unknown: {', '.join(unknown)}; the roles are {', '.join(ROLES)}")
    if _NEEDED not in roles:
        raise ValueError(f"{_NEEDED} is needed: the model judges nothing without it")
    return roles


_Expr = Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_expr)]


class _RoleFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    presence: _Expr
    boot_time: _Expr | None = None
    roles: Annotated[Mapping[str, _Expr], AfterValidator(_check_roles)]


def load(folder: Path | None) -> tuple[Exporter, ...]:
    """node_exporter, then those of the folder's `*.yaml` files in the order of their names.

    Raises InvalidRolesError with every fault.
    """
    if folder is None:
        return (NODE_EXPORTER,)
    exporters, faults = [NODE_EXPORTER], list[Finding]()
    found_files = files(folder)
    if not found_files:
        faults.append(Finding(file=folder, line=1, message="no role file (*.yaml)"))
    for file in found_files:
        exporter, found = _load_file(file)
        faults += found
        if exporter is None:
            continue
        if exporter.name in {known.name for known in exporters}:
            message = f"name: {exporter.name} is used already"
            faults.append(Finding(file=file, line=1, message=message))
        exporters.append(exporter)
    if faults:
        raise InvalidRolesError(faults)
    return tuple(exporters)


def files(folder: Path | None) -> Sequence[Path]:
    """The folder's role files, in the order of their names."""
    return sorted(folder.glob("*.yaml")) if folder else ()


def _load_file(file: Path) -> tuple[Exporter | None, Sequence[Finding]]:
    try:
        value, lines = read(file)
    except YamlError as error:
        return None, [Finding(file=file, line=error.line, message=error.message)]
    try:
        loaded = _RoleFile.model_validate(value)
    except ValidationError as error:
        return None, list(findings(file, lines, (), error))
    exporter = Exporter(
        name=loaded.name,
        presence=loaded.presence,
        boot_time=loaded.boot_time or "",
        exprs=loaded.roles,
    )
    return exporter, ()
