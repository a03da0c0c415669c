"""The IAM policy that a set of playbooks needs, narrowed to the resources that they name."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from actions.assurance.iam_policy import PolicyScope, build_policy
from actions.aws.groups import GROUP_NAME
from actions.aws.tags import OPT_IN_TAG
from actions.catalog.ssm import capture, restart_service
from actions.place import ACCOUNT, REGION
from receiver.playbooks.choices import variants
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.playbooks.time_intervals import ChangeCalendars

_EXACT = ("asg", False, True)


class ScopeError(Exception):
    """A malformed region, account or group; the text has its name and value."""


def narrowed_policy(
    playbooks: Playbooks, *, region: str | None, account: str | None, groups: Collection[str]
) -> Mapping[str, Any]:
    """The policy for `groups`; if empty, for the groups that the playbooks name.

    Raises ScopeError.
    """
    for value, pattern, what in (
        (region, REGION, "region"),
        (account, ACCOUNT, "account number"),
        *((group, GROUP_NAME, "Auto Scaling group") for group in groups),
    ):
        if value is not None and not pattern.fullmatch(value):
            raise ScopeError(f"{value!r} is not a valid {what}")
    steps = [step for playbook in playbooks.items for step in _steps(playbook)]
    documents = {params["document"] for name, params in steps if name == "run_document"}
    for action, document in (
        (capture.Capture, capture.DOCUMENT),
        (restart_service.RestartService, restart_service.DOCUMENT),
    ):
        if any(name == action.name for name, _ in steps):
            documents.add(document)
    scope = PolicyScope(
        region=region,
        account=account,
        groups=groups or _named(playbooks),
        documents=documents,
        topics={params["topic"] for name, params in steps if name == "page"},
    )
    calendars = any(isinstance(one.window, ChangeCalendars) for one in playbooks.items)
    reads = ("ssm:GetCalendarState",) if calendars else ()
    return build_policy((name for name, _ in steps), scope, reads=reads)


def _steps(playbook: Playbook) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for step in playbook.steps:
        for params in variants(step.params):
            yield step.action, params
        for before in step.preparation:
            yield before.action, before.params
    for escalation in playbook.escalate:
        yield escalation.action, escalation.params


def _named(playbooks: Playbooks) -> Collection[str]:
    """The groups that the playbooks name; empty if a playbook names none, and so means any.

    Only a matcher of `asg` that is neither a pattern nor a negation names a group.
    """
    named = [
        {
            matcher.value
            for matcher in playbook.match
            if (matcher.name, matcher.is_regex, matcher.is_equal) == _EXACT
        }
        for playbook in playbooks.items
    ]
    return {group for groups in named for group in groups} if all(named) else ()


def with_opt_in_tag(policy: Mapping[str, Any], tag: str) -> Mapping[str, Any]:
    """The policy for an account with this tag in place of OPT_IN_TAG."""

    def named(condition: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        default, own = f"/{OPT_IN_TAG}", f"/{tag}"
        return {
            operator: {
                key.removesuffix(default) + own if key.endswith(default) else key: value
                for key, value in keys.items()
            }
            for operator, keys in condition.items()
        }

    statements = [
        part | {"Condition": named(part["Condition"])} if "Condition" in part else part
        for part in policy["Statement"]
    ]
    return {**policy, "Statement": statements}


def of_spoke(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """The policy of a role in another account: people are paged by the service's own."""
    return {**policy, "Statement": [part for part in policy["Statement"] if not _pages(part)]}


def of_hub(policy: Mapping[str, Any], roles: Collection[str], *, acts: bool) -> Mapping[str, Any]:
    """The policy of the service's own role: it assumes just these, and pages.

    It `acts` in its own account as well, or has no permission there.
    """
    assumes = {
        "Sid": "AssumeRoles",
        "Effect": "Allow",
        "Action": ["sts:AssumeRole"],
        "Resource": sorted(roles),
    }
    own = [part for part in policy["Statement"] if acts or _pages(part)]
    return {**policy, "Statement": [*own, assumes]}


def _pages(statement: Mapping[str, Any]) -> bool:
    return all(name.startswith("sns:") for name in statement["Action"])
