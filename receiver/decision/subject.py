"""What is decided on: a run with its playbooks and its target."""

from collections.abc import Sequence
from dataclasses import dataclass

from actions.base import Outcome
from actions.catalog.registry import find_action
from actions.execution.ledger import Intent
from receiver.decision.guards.base import GuardInput
from receiver.decision.model import RecentAction, Snapshot, Trigger
from receiver.evidence.firing_alerts import ReportedAlert
from receiver.evidence.target import Target
from receiver.playbooks.schema import Playbook
from receiver.runs.model import Approval, Run
from receiver.webhook.episodes import Episode


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run to decide on, the playbooks that match it, and its target."""

    run: Run
    playbooks: Sequence[Playbook]
    target: Target

    @property
    def playbook(self) -> Playbook:
        """The only playbook of a `readable` run."""
        return self.playbooks[0]

    @property
    def names(self) -> Sequence[str]:
        return [name for name in (self.target.id, self.target.group) if name]

    @property
    def reported(self) -> ReportedAlert:
        return ReportedAlert(labels=self.run.labels, target=self.target.id or "")

    @property
    def owner(self) -> str:
        """The run whose own reservations do not count; empty for a run that has not acted."""
        return self.run.id if self.run.steps_begun else ""

    @property
    def readable(self) -> bool:
        """Whether facts must be read for the run; `PLAIN` refuses every other run without them."""
        return len(self.playbooks) == 1 and bool(self.names)

    @property
    def key(self) -> tuple[Target, str, str]:
        """Subjects with equal keys have equal records."""
        return self.target, self.playbook.name, self.owner

    def inputs(self, snapshot: Snapshot, now: float) -> GuardInput:
        """What the guards read, before there is a verdict."""
        run = self.run
        trigger = Trigger(
            run_id=run.id,
            labels=run.labels,
            starts_at=run.starts_at,
            malformed=run.malformed,
            request=run.request,
            playbook_digest=run.plan.playbook_digest if run.plan and run.steps_begun else None,
        )
        return GuardInput(
            trigger=trigger, verdict=None, playbooks=self.playbooks, snapshot=snapshot, now=now
        )


def is_resolved(run: Run, episode: Episode | None) -> bool | None:
    """Whether a delivery reported the alert as resolved; None is unknown."""
    if run.request:
        return False
    return episode.resolved_at is not None if episode else None


def last_seen(run: Run, episode: Episode | None) -> float | None:
    """The time at which the alert last fired, or a person last requested or approved the run."""
    if run.request:
        return run.updated_at
    if episode is None or run.approval is None:
        return episode.last_seen_at if episode else None
    return max(episode.last_seen_at, run.approval.at)


def valid_approvals(run: Run, now: float) -> Sequence[Approval]:
    """The approvals that are still valid; after they expire, people are asked again."""
    answer, plan = run.approval, run.plan
    if answer is None or plan is None or answer.denied or answer.used:
        return ()
    return run.approvals if now < answer.at + plan.approval_s else ()


def moved_by(own: Sequence[Intent], target: str | None) -> frozenset[str]:
    """The lifecycle states to which the last of the run's own steps on its target may move it."""
    moving = [
        states
        for step in sorted(own, key=lambda step: step.dispatched_at or 0.0)
        if step.target == target
        and step.outcome is Outcome.CHANGED
        and (states := find_action(step.action).moves_to)
    ]
    return moving[-1] if moving else frozenset()


def actions_on(subject: Subject, dispatched: Sequence[Intent]) -> Sequence[RecentAction]:
    """Those of the dispatched steps that were on the subject's target or its group."""
    return [
        RecentAction(
            run_id=intent.run_id,
            action=intent.action,
            target=intent.target,
            at=intent.dispatched_at,
            launches=find_action(intent.action).launches(intent.params),
        )
        for intent in dispatched
        if intent.target in subject.names and intent.dispatched_at is not None
    ]
