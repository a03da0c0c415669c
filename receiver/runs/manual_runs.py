"""Starts manual runs: the same evidence, guards, claims and limits as for an alert.

A manual run differs only in that it needs no firing alert: a pause, a cooldown, a refuted verdict
or the blast radius refuses it, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actions.aws.groups import GROUP_NAME
from actions.aws.instances import INSTANCE_ID
from actions.place import HOME, Place
from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.runs import intake
from receiver.runs.model import Run, RunRequest

# The request decides a dry run; after a crash the dispatcher decides it, after these seconds.
_DRY_RUN_RESERVED_S = 60.0


class NotPossibleError(Exception):
    """The request cannot become a run; the text has the reason."""


@dataclass(frozen=True, kw_only=True)
class ManualRuns:
    """Starts runs; `decide_sync` decides a run while the caller waits; `wake` wakes the dispatcher.

    `clock` gives epoch seconds.
    """

    database: Database
    playbooks: Playbooks
    decide_sync: Callable[[Run], None]
    wake: Callable[[], None]
    clock: Callable[[], float]
    places: Sequence[Place] = (HOME,)

    def start(self, request: RunRequest) -> str:
        """Start a run and return its id; a dry run has been decided and has ended by then.

        `request.target` is an instance id or a group's name. Raises NotPossibleError.
        """
        playbooks = self.playbooks.named(request.playbook)
        if not playbooks:
            raise NotPossibleError(f"there is no playbook {request.playbook}")
        within = Place(request.account, request.region)
        if not any(place.is_within(within) for place in self.places):
            raise NotPossibleError("the account and region are not in the file of accounts")
        labels, now = labels_of(playbooks[0], request.target), self.clock()
        not_before = now + _DRY_RUN_RESERVED_S if request.dry_run else None
        with self.database.write() as connection:
            run = intake.insert_manual(connection, request, labels, now, not_before=not_before)
        if request.dry_run:
            self.decide_sync(run)
        else:
            self.wake()
        return run.id


def labels_of(playbook: Playbook, target: str) -> Mapping[str, str]:
    """The labels of an alert about this target that the playbook matches.

    Overrides, conditions and the re-check read labels; only those that the matchers name exactly
    are set. Raises NotPossibleError.
    """
    exact = [
        matcher
        for matcher in playbook.match
        if matcher.is_equal and not matcher.is_regex and matcher.value
    ]
    labels = {matcher.name: matcher.value for matcher in exact}
    if INSTANCE_ID.fullmatch(target):
        labels["instance_id"] = target
    elif GROUP_NAME.fullmatch(target) and not INSTANCE_ID.match(target):
        labels = {**labels, "asg": target}
        labels.pop("instance_id", None)
    else:
        raise NotPossibleError("the target is neither an instance id nor the name of a group")
    for matcher in exact:
        if labels.get(matcher.name) != matcher.value:
            raise NotPossibleError(
                f"the playbook takes only alerts with {matcher}, and {target} has no such label"
            )
    return labels
