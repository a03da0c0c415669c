"""Runs that a person asks for: the same evidence, guards, claims and limits as for an alert.

What a person asks for needs no firing alert, and nothing else is different: a pause, a cooldown, a
refuted verdict or the blast radius refuses it all the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ulid import ULID

from actions.aws.inventory import GROUP_NAME, INSTANCE_ID
from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.runs import store
from receiver.runs.model import Run

# A dry run is decided on for whoever waits for it; after a crash the assessor does it.
_OWN_S = 60.0


class NotPossibleError(Exception):
    """It cannot even be asked for; the text says why."""


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """`decide_now` decides on a run before it returns, `wake` has that done soon."""

    database: Database
    playbooks: Playbooks
    decide_now: Callable[[Run], None]
    wake: Callable[[], None]
    clock: Callable[[], float]

    def start(  # noqa: PLR0913 one argument a part of what is asked
        self, playbook: str, target: str, *, by: str, role: str, comment: str, dry_run: bool
    ) -> str:
        """The id of the run, which for a dry run is decided on by then, and ends there.

        `target` is an instance id or a group's name. Raises NotPossibleError.
        """
        found = self.playbooks.named(playbook)
        if not found:
            raise NotPossibleError(f"there is no playbook {playbook}")
        labels, now = labels_of(found[0], target), self.clock()
        asked = {
            "by": by,
            "role": role,
            "comment": comment,
            "playbook": playbook,
            "dry_run": dry_run,
        }
        run_id = str(ULID())
        with self.database.write() as connection:
            left = now + _OWN_S if dry_run else None
            run = store.start(connection, run_id, labels, asked, now, not_before=left)
        if dry_run:
            self.decide_now(run)
        else:
            self.wake()
        return run_id


def labels_of(playbook: Playbook, target: str) -> Mapping[str, str]:
    """The labels of an alert that this playbook takes, about this target.

    As far as its matchers name them: overrides, conditions and the re-check read labels.
    """
    exact = [one for one in playbook.match if one.is_equal and not one.is_regex and one.value]
    labels = {one.name: one.value for one in exact}
    if INSTANCE_ID.fullmatch(target):
        labels["instance_id"] = target
    elif GROUP_NAME.fullmatch(target):
        labels = {**labels, "asg": target}
        labels.pop("instance_id", None)
    else:
        raise NotPossibleError("the target is neither an instance id nor a group's name")
    for one in exact:
        if labels.get(one.name) != one.value:
            raise NotPossibleError(f"the playbook is only for {one}")
    return labels
