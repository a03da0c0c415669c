"""Which critical services would be remediated, and what is missing for those that would not."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.aws import inventory
from actions.aws.clients import Aws
from actions.aws.inventory import CRITICAL_TAG, OPT_IN_TAG, Group, Instance
from receiver.controls.arming import Arming, armed_mode
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.prometheus_answers import AlertingRule
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.matchers import parse
from receiver.playbooks.schema import Playbook
from receiver.settings import Mode

_MEASURED = 'group by (asg) (up{asg!=""})'
_OF_GROUP = re.compile(r'\basg\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"')
_ORDER = list(Mode)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A critical service: an Auto Scaling group. `missing` says what it lacks, in words.

    `mode` is how far the most capable of its playbooks may go, None without a playbook.
    """

    name: str
    instances: int
    measured: bool
    rules: Sequence[str]
    playbooks: Sequence[str]
    mode: Mode | None
    untagged: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that a service is judged by."""

    rules: Collection[AlertingRule]
    measured: Collection[str]
    playbooks: Playbooks
    mode: Mode
    armings: Mapping[str, Sequence[Arming]]
    arming_required: bool


def coverage(  # noqa: PLR0913 one argument a source
    aws: Aws,
    prometheus: Prometheus,
    playbooks: Playbooks,
    mode: Mode,
    armings: Mapping[str, Sequence[Arming]],
    *,
    arming_required: bool,
    named: Collection[str],
    now: float,
) -> Sequence[Service]:
    """The services `named`; else those that are tagged as critical; else all.

    Raises PrometheusError, NotActionableError for a name that there is not, botocore's errors.
    """
    known = Known(
        rules=[one for one in prometheus.alerting_rules() if one.healthy],
        measured={one.labels["asg"] for one in prometheus.instant_query(_MEASURED, at=now)},
        playbooks=playbooks,
        mode=mode,
        armings=armings,
        arming_required=arming_required,
    )
    found = [inventory.read_group(aws, name) for name in named] or inventory.read_groups(aws)
    tagged = [one for one in found if one.tags.get(CRITICAL_TAG) == "true"]
    critical = found if named or not tagged else tagged
    return [service(one, inventory.read_group_instances(aws, one.name), known) for one in critical]


def service(group: Group, instances: Sequence[Instance], known: Known) -> Service:
    rules = [one for one in known.rules if _may_tell_of(one, group.name)]
    labels = [{**one.labels, "alertname": one.name, "asg": group.name} for one in rules]
    mine = {one.name: one for alert in labels for one in known.playbooks.matching(alert)}
    answered = [
        rule.name
        for rule, alert in zip(rules, labels, strict=True)
        if known.playbooks.matching(alert)
    ]
    modes = [_goes(one, group.name, known) for one in mine.values()]
    mode = max(modes, key=_ORDER.index, default=None)
    untagged = [one.id for one in instances if one.tags.get(OPT_IN_TAG) != "true"]
    if group.tags.get(OPT_IN_TAG) != "true":
        untagged.insert(0, group.name)
    measured = group.name in known.measured
    return Service(
        name=group.name,
        instances=len(instances),
        measured=measured,
        rules=sorted({*answered}),
        playbooks=sorted(mine),
        mode=mode,
        untagged=untagged,
        missing=_missing(measured, rules, mine, mode, untagged),
    )


def _goes(playbook: Playbook, group: str, known: Known) -> Mode:
    found = known.armings.get(playbook.name, ())
    let = armed_mode(found, group, playbook.digest, required=known.arming_required).mode
    return min(known.mode, playbook.mode, let, key=_ORDER.index)


def _missing(
    measured: bool,  # noqa: FBT001 one of the facts
    rules: Collection[AlertingRule],
    playbooks: Mapping[str, Playbook],
    mode: Mode | None,
    untagged: Collection[str],
) -> list[str]:
    facts = {
        "Prometheus measures none of it": not measured,
        "no alerting rule is about it": not rules,
        "no playbook matches its alerts": not playbooks,
        "its playbooks only observe": mode is Mode.OBSERVE,
        f"{len(untagged)} without the opt-in tag": bool(untagged),
    }
    return [said for said, lacks in facts.items() if lacks]


def _may_tell_of(rule: AlertingRule, group: str) -> bool:
    """Whether no selector of the rule leaves the group out, as far as its text tells."""
    named = rule.labels.get("asg", group)
    selectors = {text.replace(" ", "") for text in _OF_GROUP.findall(rule.expr)}
    return named == group and all(parse(one).matches({"asg": group}) for one in selectors)


def told(services: Sequence[Service]) -> dict[str, Any]:
    """As JSON; the share is null where there is no critical service."""
    covered = sum(not one.missing for one in services)
    return {
        "services": [
            {**vars(one), "mode": None if one.mode is None else str(one.mode)}
            | {"covered": not one.missing}
            for one in services
        ],
        "critical": len(services),
        "covered": covered,
        "covered_share": covered / len(services) if services else None,
    }
