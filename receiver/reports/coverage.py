"""The critical services that would be remediated, and what the others lack."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.aws.client_set import Aws
from actions.aws.groups import Group, read_group, read_group_instances, read_groups
from actions.aws.instances import Instance
from actions.aws.tags import CRITICAL_TAG, OPT_IN_TAG
from actions.place import HOME, Place
from receiver.controls.records import Arming, armed_mode
from receiver.evidence.prometheus.answers import AlertingRule
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.presence import SeriesPresence
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.matchers import parse
from receiver.playbooks.schema import Playbook
from receiver.settings import Mode

_MEASURED = 'group by (asg) (up{{asg!=""{where}}})'
_ASG_SELECTOR = re.compile(r'\basg\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"')
_ORDER = list(Mode)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A critical service: an Auto Scaling group.

    `missing` lists the conditions that it does not meet. `mode` is the highest mode of its
    playbooks, None without a playbook.
    """

    name: str
    account: str | None
    region: str | None
    instances: int
    measured: bool
    rules: Sequence[str]
    playbooks: Sequence[str]
    mode: Mode | None
    untagged: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The modes that the configuration allows in a place.

    The place's series have the PromQL matchers `where`.
    """

    playbooks: Playbooks
    mode: Mode
    armings: Mapping[str, Sequence[Arming]]
    arming_required: bool
    place: Place = HOME
    where: str = ""
    place_mode: Mode = Mode.AUTO

    def mode_of(self, playbook: Playbook, group: str) -> Mode:
        """The mode of a playbook for a group of the place, the lowest of those that apply."""
        records, required = self.armings.get(playbook.name, ()), self.arming_required
        arming = armed_mode(records, self.place, group, playbook.digest, required=required)
        modes = (self.mode, self.place_mode, playbook.mode, arming.mode)
        return min(modes, key=_ORDER.index)


@dataclass(frozen=True, kw_only=True)
class CoverageInput:
    """The facts that decide whether a service is covered."""

    rules: Collection[AlertingRule]
    measured: Collection[str]
    policy: Policy


def find_coverage(
    aws: Aws, prometheus: Prometheus, policy: Policy, *, named: Collection[str], now: float
) -> Sequence[Service]:
    """The services `named` of a place; else the groups tagged as critical, or all if none is.

    Only rules that select something count.

    Raises PrometheusError, botocore's errors, and NotActionableError for an unknown name.
    """
    rules = [rule for rule in prometheus.alerting_rules() if rule.healthy]
    presence = SeriesPresence(prometheus, now)
    presence.learn([rule.expr for rule in rules])
    measured = _MEASURED.format(where=f",{policy.where}" if policy.where else "")
    facts = CoverageInput(
        rules=[rule for rule in rules if not presence.lacking(rule.expr)],
        measured={sample.labels["asg"] for sample in prometheus.instant_query(measured, at=now)},
        policy=policy,
    )
    groups = [read_group(aws, name) for name in named] or read_groups(aws)
    tagged = [group for group in groups if group.tags.get(CRITICAL_TAG) == "true"]
    critical = groups if named or not tagged else tagged
    return [
        service_coverage(group, read_group_instances(aws, group.name), facts) for group in critical
    ]


def service_coverage(group: Group, instances: Sequence[Instance], facts: CoverageInput) -> Service:
    policy = facts.policy
    rules = [rule for rule in facts.rules if _may_select(rule, group.name)]
    alerts = [{**rule.labels, "alertname": rule.name, "asg": group.name} for rule in rules]
    matches = [policy.playbooks.matching(alert) for alert in alerts]
    playbooks = {playbook.name: playbook for matching in matches for playbook in matching}
    answered = {rule.name for rule, matching in zip(rules, matches, strict=True) if matching}
    modes = [policy.mode_of(playbook, group.name) for playbook in playbooks.values()]
    mode = max(modes, key=_ORDER.index, default=None)
    untagged = [instance.id for instance in instances if instance.tags.get(OPT_IN_TAG) != "true"]
    if group.tags.get(OPT_IN_TAG) != "true":
        untagged.insert(0, group.name)
    measured = group.name in facts.measured
    lacks = {
        "no metrics in Prometheus": not measured,
        "no alerting rule covers the group": not rules,
        "no playbook matches the group's alerts": not playbooks,
        "every matching playbook only observes": mode is Mode.OBSERVE,
        f"{len(untagged)} without the opt-in tag": bool(untagged),
    }
    return Service(
        name=group.name,
        account=policy.place.account or None,
        region=policy.place.region or None,
        instances=len(instances),
        measured=measured,
        rules=sorted(answered),
        playbooks=sorted(playbooks),
        mode=mode,
        untagged=untagged,
        missing=[text for text, is_missing in lacks.items() if is_missing],
    )


def _may_select(rule: AlertingRule, group: str) -> bool:
    """Whether no selector in the rule's text excludes the group."""
    label = rule.labels.get("asg", group)
    selectors = {text.replace(" ", "") for text in _ASG_SELECTOR.findall(rule.expr)}
    return label == group and all(parse(text).matches({"asg": group}) for text in selectors)


def coverage_json(services: Sequence[Service]) -> dict[str, Any]:
    """The coverage as JSON values; the share is null without a critical service."""
    covered = sum(not service.missing for service in services)
    return {
        "services": [
            {**vars(service), "mode": None if service.mode is None else str(service.mode)}
            | {"covered": not service.missing}
            for service in services
        ],
        "critical": len(services),
        "covered": covered,
        "covered_share": covered / len(services) if services else None,
    }
