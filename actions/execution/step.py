"""One step of a run, as the executor takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.aws.client_set import Aws
from actions.base import Action, Call, Impact
from actions.evidence import EvidenceStore
from actions.execution.ledger import Intent
from actions.execution.records import Bounds, ClaimRequest, Rates, Scope
from actions.messaging import Messenger
from actions.place import HOME, Place
from actions.step_key import StepKey


@dataclass(frozen=True)
class ReversedStep:
    """The step that a rollback reverses, and its action."""

    action: Action
    intent: Intent


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step; `group` is empty for a target without one.

    No other run may hold one of `must_be_free`: an instance's group, a group's instances. No limit
    applies to a step that `reverses` another one, because no limit may stop a rollback. A step
    without `counts` uses up no rate limit: it belongs to another step, which counts. A step that
    `escalates` calls people: it needs no claim, and only a pause of everything stops it.
    """

    run_id: str
    key: StepKey
    action: Action
    place: Place = HOME
    target: str
    params: Mapping[str, Any]
    playbook: str
    group: str = ""
    cooldown_s: float
    rates: Rates = field(default_factory=Rates)
    bounds: Bounds = field(default_factory=Bounds)
    must_be_free: Sequence[str] = ()
    reverses: ReversedStep | None = None
    counts: bool = True
    escalates: bool = False

    @property
    def token(self) -> str:
        """The name of this step in AWS, in client tokens, comments and tags."""
        return self.key.token(self.run_id)

    def claim_request(self, scopes: Sequence[Scope]) -> ClaimRequest:
        """The claim that the step needs; in each of `scopes` the target would be out of service."""
        harmless = self.action.impact is Impact.HARMLESS
        return ClaimRequest(
            run_id=self.run_id,
            step=self.key,
            place=self.place,
            target=self.target,
            group=self.group,
            playbook=self.playbook,
            cooldown_s=self.cooldown_s,
            rates=self.rates,
            counts=self.counts and self.reverses is None and not harmless,
            reverses=self.reverses is not None,
            must_be_free=self.must_be_free,
            scopes=scopes,
        )


def call_of(
    intent: Intent, aws: Aws, messenger: Messenger, evidence: EvidenceStore | None = None
) -> Call:
    """The recorded step as its action sees it."""
    return Call(
        aws=aws,
        messenger=messenger,
        target=intent.target,
        params=intent.params,
        token=intent.step.token(intent.run_id),
        before=intent.before,
        made=intent.made,
        evidence=evidence,
    )
