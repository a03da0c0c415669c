"""The signature of a guard: it returns why it lets the run pass, or a refusal with its reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actions.base import TargetKind
from actions.reasons import Reason
from actions.refusal import Refusal
from models.inference.verdict import Verdict
from receiver.controls.records import Identity, Override, identity_of
from receiver.decision.model import Snapshot, Trigger
from receiver.decision.versions import last_healthy
from receiver.playbooks import placeholders
from receiver.playbooks.schema import Playbook


@dataclass(frozen=True, kw_only=True)
class GuardInput:
    """The input of the guards; `playbooks` are those that match the alert."""

    trigger: Trigger
    verdict: Verdict | None
    playbooks: Sequence[Playbook]
    snapshot: Snapshot
    now: float

    @property
    def identity(self) -> Identity:
        """The labels of the alert, and those of its target as far as it was read."""
        snapshot = self.snapshot
        named = {"asg": snapshot.group or "", **vars(snapshot.place)}
        if snapshot.kind is TargetKind.INSTANCE:
            named["instance_id"] = snapshot.target or ""
        read = (part.labels for part in (snapshot.instance, snapshot.asg) if part is not None)
        return identity_of(self.trigger.labels, named, *read)

    @property
    def identity_of_members(self) -> Identity:
        """The identity, and that of every member of the target's group."""
        asg = self.snapshot.asg
        members = asg.members.values() if asg is not None else ()
        named = [{"instance_id": member.id, "az": member.az} for member in members]
        own = [{name: value} for name, values in self.identity.items() for value in values]
        return identity_of(*own, *named)

    @property
    def storm(self) -> bool | None:
        """Whether so many instances alert that none may get a step alone; None is unknown.

        Hosts that fail at once have each its own cause: they are excepted, one at a time.
        """
        storm = self.snapshot.storm(self.playbooks[0].limits.storm)
        return False if storm and self.snapshot.is_next_failed_host else storm

    @property
    def overrides(self) -> Sequence[Override] | None:
        """The overrides that apply; None is unknown."""
        return self.overrides_of(self.identity)

    def overrides_of(self, identity: Identity) -> Sequence[Override] | None:
        """The overrides that apply to this identity; None is unknown."""
        current = self.snapshot.overrides
        if current is None:
            return None
        return [override for override in current if override.applies_to(identity, self.now)]


def require_named(inputs: GuardInput, *texts: object) -> Refusal | None:
    """The target must have what the texts name: `{instance_id=""}` would select other series.

    A group has no `$instance_id` and no `$selector`, and an instance outside groups no `$asg` and
    no `$members`.

    ## no_healthy_version

    The step restores a launch-template version, and the service has not yet seen the group healthy
    with any version for five minutes. It guesses none.
    **Do:** roll the group back by hand, to a version that you know to be good.
    **To lift it:** nothing to do: the service looks at each opted-in group twice a minute.
    """
    snapshot = inputs.snapshot
    used = placeholders.names_in(list(texts))
    # Without the instance, AWS was not asked yet, or did not answer.
    standalone = snapshot.group is None and snapshot.instance is not None
    for name, missing in (
        ("instance_id", snapshot.kind is TargetKind.GROUP),
        ("selector", snapshot.kind is TargetKind.GROUP),
        ("asg", standalone),
        ("members", standalone),
    ):
        if missing and name in used:
            detail = f"{inputs.playbooks[0].name} uses ${name}, and {snapshot.target} has none"
            return Refusal(Reason.NO_TARGET, detail)
    if "healthy_version" in used and last_healthy(snapshot.seen) is None:
        detail = f"no version of {snapshot.group} is on record as healthy"
        return Refusal(Reason.NO_HEALTHY_VERSION, detail)
    return None


Guard = Callable[[GuardInput], str | Refusal]
# Names of gates with their guards, in the order of the checks.
Guards = Sequence[tuple[str, Guard]]
