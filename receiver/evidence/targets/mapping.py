"""The mapping of an alert's labels to an instance, a group and a place: `targets.yaml`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, assert_never

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from actions.place import REGION, Place
from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.yaml_source import YamlError, read

DEFAULT = Path(__file__).with_name("targets.yaml")
Label = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Reading = Annotated[str, StringConstraints(pattern=r"^(id|address|dns_name|tag:.{1,128})$")]
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# What AWS says of an instance's place.
Attribute = Literal["region", "az", "account", "vpc", "subnet"]
Attributes = Mapping[Attribute, Label]


class InvalidTargetsError(InvalidFilesError):
    """The file cannot be used."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InstanceLabel(_Part):
    """A label, and the ways to read its value, in order.

    It names no instance in an alert that has a label with a name of `unless` (patterns, `*`).
    """

    label: Label
    readings: Annotated[Sequence[Reading], Field(alias="as", min_length=1)]
    unless: Sequence[Label] = ()

    def names_in(self, labels: Mapping[str, str]) -> bool:
        """Whether it has a value in the alert, and names what the alert is about."""
        if not labels.get(self.label):
            return False
        return not any(fnmatchcase(name, other) for other in self.unless for name in labels)


class WhereLabel(_Part):
    """A label that tells where the instance is: `attributes` of which one must equal its value.

    Or the `places` that its values stand for.
    """

    label: Label
    attributes: Annotated[Sequence[Attribute], Field(alias="is")] = ()
    places: Mapping[str, Attributes] = {}

    @model_validator(mode="after")
    def _one_of_both(self) -> "WhereLabel":
        if bool(self.attributes) == bool(self.places):
            raise ValueError("write either is or places")
        return self

    def is_true_of(self, place: Mapping[str, str], value: str) -> bool:
        """Whether an instance at this place fits the label's value."""
        if self.attributes:
            return any(place[attribute] == value for attribute in self.attributes)
        meant = self.places.get(value)
        return meant is not None and all(place[name] == text for name, text in meant.items())

    def may_be_at(self, place: Place, value: str) -> bool:
        """Whether something in this account and region may fit the label's value."""
        if self.attributes:
            return any(_may_be(name, value, place) for name in self.attributes)
        meant = self.places.get(value)
        return meant is not None and all(_may_be(name, text, place) for name, text in meant.items())


class TargetMapping(_Part):
    """All labels that name an instance or a group, in order, and those that tell where it is."""

    instances: Annotated[Sequence[InstanceLabel], Field(min_length=1)]
    groups: Sequence[Label] = ()
    where: Sequence[WhereLabel] = ()

    def naming(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The labels that name an instance, in order; without one, those that name a group."""
        naming = (instance.label for instance in self.instances if instance.names_in(labels))
        instances = _of(labels, naming)
        return instances or _of(labels, self.groups)

    def names_instance(self, labels: Mapping[str, str]) -> bool:
        return any(instance.names_in(labels) for instance in self.instances)

    def contradiction(self, labels: Mapping[str, str], place: Mapping[str, str]) -> str | None:
        """The first label that is not true of an instance at this place, with its value."""
        for where in self.where:
            value = labels.get(where.label, "")
            if value and not where.is_true_of(place, value):
                return f"{where.label}={value}"
        return None

    def may_be_at(self, labels: Mapping[str, str], place: Place) -> bool:
        """Whether no label contradicts this account and region."""
        return all(
            where.may_be_at(place, labels[where.label])
            for where in self.where
            if labels.get(where.label)
        )

    def series_at(self, place: Place) -> str:
        """PromQL matchers of the series there, as far as they have labels of account or region."""
        return ",".join(
            f'{where.label}=~"|{vars(place)[where.attributes[0]]}"'
            for where in self.where
            if tuple(where.attributes) in {("account",), ("region",)}
            and _NAME.fullmatch(where.label)
        )


def _may_be(attribute: Attribute, value: str, place: Place) -> bool:
    match attribute:
        case "account":
            return value == place.account
        case "region":
            return value == place.region
        case "az":
            found = REGION.match(value)
            return found is not None and found[0] == place.region
        case "vpc" | "subnet":
            # Only AWS knows.
            return True
    assert_never(attribute)


def _of(labels: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:
    """Those of the labels that have a value, and that PromQL can name."""
    return {name: labels[name] for name in names if labels.get(name) and _NAME.fullmatch(name)}


def load(file: Path | None) -> TargetMapping:
    """The mapping of a file, or the shipped one. Raises InvalidTargetsError with every fault."""
    file = file or DEFAULT
    try:
        value, lines = read(file)
    except YamlError as error:
        raise InvalidTargetsError(
            [Finding(file=file, line=error.line, message=error.message)]
        ) from None
    try:
        return TargetMapping.model_validate(value)
    except ValidationError as error:
        raise InvalidTargetsError(list(findings(file, lines, (), error))) from None
