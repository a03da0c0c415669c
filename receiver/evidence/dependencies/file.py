"""What depends on what, and the metrics that tell how each component is: `dependencies.yaml`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.yaml_source import YamlError, read

_Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_Promql = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class InvalidDependenciesError(InvalidFilesError):
    """The file cannot be used."""


class Dependencies(BaseModel):
    """The edges, and PromQL by the label `component`: a second's requests and failures, latency.

    An alert is about the component that its label `component_label` names, else about its group.
    `edges` is PromQL whose series have the labels `client` and `server`, beside `depends_on`.
    `latency` is in seconds a request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    component_label: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] = (
        "service"
    )
    depends_on: Mapping[_Name, Sequence[_Name]] = {}
    edges: _Promql | None = None
    requests: _Promql
    failures: _Promql | None = None
    latency: _Promql | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.depends_on and self.edges is None:
            raise ValueError("depends_on or edges is needed")
        if self.failures is None and self.latency is None:
            raise ValueError("failures or latency is needed")
        return self


def load(file: Path | None) -> Dependencies | None:
    """What the file says, or None without one. Raises InvalidDependenciesError with each fault."""
    if file is None:
        return None
    try:
        value, lines = read(file)
    except YamlError as error:
        raise InvalidDependenciesError(
            [Finding(file=file, line=error.line, message=error.message)]
        ) from None
    try:
        return Dependencies.model_validate(value)
    except ValidationError as error:
        raise InvalidDependenciesError(list(findings(file, lines, (), error))) from None
