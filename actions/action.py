"""What an action states of itself, so that everything else can treat all of them alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from actions.aws import Aws


class TargetKind(StrEnum):
    INSTANCE = "instance"
    GROUP = "group"


class Outcome(StrEnum):
    CHANGED = "changed"
    NOOP = "noop"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Params(BaseModel):
    """Base of an action's parameters: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Observation:
    """What AWS says of the target before an act, and whether the wished state already holds."""

    already: bool
    before: Mapping[str, Any]


class Action(Protocol):
    """One action. Its module's docstring explains it and shows a playbook step in YAML.

    `converges`: calling twice ends in the same state, so an unknown outcome may be tried again.
    """

    name: ClassVar[str]
    target: ClassVar[TargetKind]
    converges: ClassVar[bool]
    permissions: ClassVar[tuple[str, ...]]
    params: ClassVar[type[Params]]

    def resolve(self, aws: Aws, target: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters made absolute, once, inside the claim ("+2" becomes a number)."""
        ...

    def observe(self, aws: Aws, target: str, params: Mapping[str, Any]) -> Observation: ...

    def act(self, aws: Aws, target: str, params: Mapping[str, Any]) -> None: ...

    def reconcile(
        self, aws: Aws, target: str, params: Mapping[str, Any], before: Mapping[str, Any]
    ) -> Outcome:
        """Settle a call whose answer was lost: changed, failed (did not happen) or unknown."""
        ...

    def proof(self, target: str, dispatched_at: float) -> str | None:
        """A PromQL condition (`> bool`) that holds once the effect shows; None: AWS shows it."""
        ...
