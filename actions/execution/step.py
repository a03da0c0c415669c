"""One step of a run, as it is to be performed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.base import Action, Impact
from actions.execution.claims import ClaimRequest
from actions.execution.disruption_budget import Bounds, Scope
from actions.execution.ledger import Intent
from actions.execution.rate_limits import Rates


@dataclass(frozen=True)
class ReversedStep:
    """The step that is taken back, and its action."""

    action: Action
    intent: Intent


@dataclass(frozen=True, kw_only=True)
class Step:
    """`index` counts the steps this run took, from 0; `group` is empty where there is none.

    `beside` are targets that no other run may hold meanwhile: an instance's group, a group's
    instances. A step that takes another one back minds no limits: it gives back what was taken.
    One that does not `count` uses up no rate, as it goes with one that does.
    """

    run_id: str
    index: int
    action: Action
    target: str
    params: Mapping[str, Any]
    playbook: str
    group: str = ""
    cooldown_s: float
    rates: Rates = field(default_factory=Rates)
    bounds: Bounds = field(default_factory=Bounds)
    beside: Sequence[str] = ()
    reverses: ReversedStep | None = None
    counts: bool = True

    @property
    def token(self) -> str:
        """What an action that AWS knows by a token is known by."""
        return token(self.run_id, self.index)

    def claim_request(self, scopes: Sequence[Scope]) -> ClaimRequest:
        """What it wants to claim; `scopes` are those in which the target would be out."""
        harmless = self.action.impact is Impact.HARMLESS
        return ClaimRequest(
            run_id=self.run_id,
            step=self.index,
            target=self.target,
            group=self.group,
            playbook=self.playbook,
            cooldown_s=self.cooldown_s,
            rates=self.rates,
            counts=self.counts and self.reverses is None and not harmless,
            beside=self.beside,
            scopes=scopes,
        )


def token(run_id: str, index: int) -> str:
    return f"{run_id}/{index}"
