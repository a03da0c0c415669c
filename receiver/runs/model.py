"""A run and its states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    RECEIVED = "received"
    DECIDING = "deciding"
    AWAITING_APPROVAL = "awaiting_approval"
    ACTING = "acting"
    VERIFYING = "verifying"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"
    OBSERVED = "observed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    RESOLVED = "resolved"

    @property
    def ended(self) -> bool:
        return self not in IN_FLIGHT


class Mark(StrEnum):
    """A person's feedback on an ended run."""

    RIGHT = "right"
    WRONG = "wrong"


IN_FLIGHT = frozenset(
    {
        State.RECEIVED,
        State.DECIDING,
        State.AWAITING_APPROVAL,
        State.ACTING,
        State.VERIFYING,
        State.ROLLING_BACK,
    }
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A row of `runs`; JSON columns as their values."""

    id: str
    state: State
    refusal: str | None
    outcome: str | None
    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    odd: str | None
    starts_at: float
    received_at: float
    priority: int
    lane: str
    target: str | None
    group_name: str | None
    playbook: str | None
    plan: Mapping[str, Any] | None
    approval: Mapping[str, Any] | None
    ending: Mapping[str, Any] | None
    caused_by: str | None
    verdict: Mapping[str, Any] | None
    gates: Sequence[Mapping[str, Any]]
    evidence: Mapping[str, Any] | None
    steps_begun: int
    next_rung: int
    phase: str | None
    recovered_since: float | None
    verify_until: float | None
    decided_at: float | None
    next_act_at: float | None
    updated_at: float
    ended_at: float | None
    asked: Mapping[str, Any] | None
    mark: Mapping[str, Any] | None
