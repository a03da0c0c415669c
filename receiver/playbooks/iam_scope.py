"""The IAM policy that a set of playbooks needs, narrowed to what they name."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from actions.assurance.iam_policy import PolicyScope, build_policy
from actions.aws.inventory import GROUP_NAME
from actions.catalog.ssm.restart_service import DOCUMENT
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook

_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d")
_ACCOUNT = re.compile(r"\d{12}")
_EXACT = ("asg", False, True)


class ScopeError(Exception):
    """A region, an account or a group that there cannot be; the text says which."""


def of(
    playbooks: Playbooks, *, region: str | None, account: str | None, groups: Collection[str]
) -> Mapping[str, Any]:
    """Without `groups`, those that the playbooks name, where each of them does.

    Raises ScopeError.
    """
    for value, form, what in (
        (region, _REGION, "region"),
        (account, _ACCOUNT, "account number"),
        *((one, GROUP_NAME, "Auto Scaling group") for one in groups),
    ):
        if value is not None and not form.fullmatch(value):
            raise ScopeError(f"{value!r} is no {what}")
    steps = [step for one in playbooks.items for step in _steps(one)]
    documents = {one["document"] for name, one in steps if name == "run_document"}
    if any(name == "restart_service" for name, _ in steps):
        documents.add(DOCUMENT)
    scope = PolicyScope(
        region=region,
        account=account,
        groups=groups or _named(playbooks),
        documents=documents,
        topics={one["topic"] for name, one in steps if name == "page"},
    )
    return build_policy((name for name, _ in steps), scope)


def _steps(playbook: Playbook) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for step in playbook.steps:
        yield step.action, step.params
        for one in step.before:
            yield one.action, one.params
    for telling in playbook.escalate:
        yield telling.action, telling.params


def _named(playbooks: Playbooks) -> Collection[str]:
    """The groups that the playbooks are about; none where one of them is about any.

    Only a matcher of `asg` that is no pattern, and no negation, names one.
    """
    found = [
        {one.value for one in playbook.match if (one.name, one.is_regex, one.is_equal) == _EXACT}
        for playbook in playbooks.items
    ]
    return {name for names in found for name in names} if all(found) else ()
