"""Unit tests for playbooks, in YAML: given an alert and its surroundings, what must come of it.

In the manner of `promtool test rules`: the decision is the real one, and nothing is asked of
Prometheus or AWS; what they would say stands in the test. Everything that a test leaves out is as
on a quiet day.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from actions.aws.inventory import INSTANCE_ID, OPT_IN_TAG, Group, Instance, Member
from actions.base import TargetKind
from actions.execution.circuit_breakers import FAILURES, Breaker
from actions.execution.claims import Claim
from actions.execution.disruption_budget import Bounds, scopes_of
from actions.execution.rate_limits import Attempts
from models.features.evidence import Evidence, Series
from models.features.signals import ROLES_OF_ALERT
from models.inference.verdict import Contribution, Verdict
from receiver.controls.arming import FREE
from receiver.controls.overrides import Override
from receiver.decision.decide import decide
from receiver.decision.model import Act, Ask, Decision, Observe, Refusal, Situation, Subject
from receiver.playbook_testing.cases import Case, Cases, Fleet, Given, GivenSeries, GivenVerdict
from receiver.playbook_testing.series import series
from receiver.playbooks.loader import Finding, Playbooks, findings
from receiver.playbooks.yaml_source import YamlError, read

Judge = Callable[[Evidence, Collection[str]], Verdict]
_NOW = 1_800_000_000.0
_ZONES = "abc"


@dataclass(frozen=True, kw_only=True)
class Report:
    """`passed` tests, and what is wrong with the rest or with the files."""

    passed: int
    findings: Sequence[Finding]


def run(folder: Path, playbooks: Playbooks, judge: Judge) -> Report:
    """Run all `tests/*.yaml` of a folder of playbooks; `judge` is the model."""
    passed, found = 0, list[Finding]()
    for file in sorted((folder / "tests").glob("*.yaml")):
        try:
            value, lines = read(file)
        except YamlError as error:
            found.append(Finding(file=file, line=error.line, message=error.message))
            continue
        try:
            cases = Cases.model_validate(value).tests
        except ValidationError as error:
            found += findings(file, lines, (), error)
            continue
        for number, case in enumerate(cases):
            wrong = list(_differences(case, playbooks, judge))
            line = lines.of(("tests", number, "name"))
            found += [Finding(file=file, line=line, message=f"{case.name}: {one}") for one in wrong]
            passed += not wrong
    return Report(passed=passed, findings=found)


def _differences(case: Case, playbooks: Playbooks, judge: Judge) -> Iterator[str]:
    decision, expect = _decided(case, playbooks, judge), case.expect
    name = "refuse" if isinstance(decision, Refusal) else type(decision).__name__.lower()
    if name != expect.decision:
        yield f"expected {expect.decision}, got {name}: {_said(decision)}"
        return
    if isinstance(decision, Refusal):
        if expect.refusal is not None and decision.reason is not expect.refusal:
            yield f"expected {expect.refusal}, got {decision.reason}: {decision.detail}"
        return
    step, target = decision.plan.step, decision.plan.target
    for wanted, got in (
        (expect.action, step.action),
        (expect.target, target),
        (expect.params, dict(step.params)),
    ):
        if wanted is not None and wanted != got:
            yield f"expected {wanted}, got {got}"


def _said(decision: Decision) -> str:
    if isinstance(decision, Refusal):
        return f"{decision.reason}, {decision.detail}"
    return f"{decision.plan.step.action} on {decision.plan.target}"


def _decided(case: Case, playbooks: Playbooks, judge: Judge) -> Act | Ask | Observe | Refusal:
    subject = Subject(run_id="0" * 26, labels=case.alert, starts_at=_NOW - 30, odd=None)
    verdict = _judged(case, judge) if case.series else _given(case.verdict)
    matching = playbooks.matching(case.alert)
    name = matching[0].name if matching else ""
    situation = _situation(case, name, playbooks)
    return decide(subject, verdict, matching, situation, _NOW)


def _given(given: GivenVerdict) -> Verdict:
    return Verdict(
        answer=given.answer,
        score=given.score,
        confidence=given.confidence,
        kind=given.kind,
        model="given",
        contributions=(Contribution(role="", sigma=None, text="given by the test"),),
        peers=given.peers,
        peers_moved=given.peers_moved,
        surging=given.surging,
    )


def _judged(case: Case, judge: Judge) -> Verdict:
    given = case.series or GivenSeries(recent={})
    siblings = [f"i-{number:017x}" for number in range(1, case.fleet.size)]
    evidence = Evidence(
        target=case.alert.get("instance_id", ""),
        at=_NOW,
        history=_expanded(given.history, 300),
        recent=_expanded(given.recent, 15),
        peers={one: _expanded(given.peers, 30) for one in siblings} if given.peers else {},
    )
    return judge(evidence, ROLES_OF_ALERT.get(case.alert.get("alertname", ""), ()))


def _expanded(roles: Mapping[str, str], step_s: float) -> dict[str, Series]:
    return {role: series(text, step_s=step_s, end=_NOW) for role, text in roles.items()}


def _situation(case: Case, playbook: str, playbooks: Playbooks) -> Situation:
    given, fleet = case.given, case.fleet
    group = case.alert.get("asg") or None
    instance_id = case.alert.get("instance_id", "")
    of_instance = INSTANCE_ID.fullmatch(instance_id) is not None
    target = instance_id if of_instance else group
    asg = _group(group, fleet, instance_id) if group and fleet.known else None
    claim = Claim(
        target=target or "",
        run_id="1" * 26,
        fence=1,
        cooldown_until=_NOW + given.cooldown_s,
        held=given.held,
    )
    counted = Attempts(
        target_hour=given.attempts,
        target_day=given.attempts,
        group_hour=given.attempts,
        playbook_hour=given.attempts,
    )
    bounds = next((one.limits.bounds for one in playbooks.items if one.name == playbook), Bounds())
    known = scopes_of(target or "", asg, bounds, {}) if asg else None
    return Situation(
        mode=given.mode,
        paused=given.paused,
        resolved=given.resolved,
        last_seen_at=_NOW - 5,
        gap_s=360,
        target=target,
        kind=TargetKind.INSTANCE if of_instance else TargetKind.GROUP if group else None,
        group=group,
        claims={claim.target: claim},
        rung=given.rung,
        overrides=_overrides(given),
        attempts={one: counted for one in (target, group) if one},
        breaker=Breaker(
            playbook=playbook,
            failures=given.failures,
            opened_at=_NOW - 1 if given.failures >= FAILURES else None,
        ),
        arming=FREE,
        acts=(),
        alerting=frozenset(list(asg.members)[: fleet.alerting] if asg else [instance_id]),
        reserved={},
        facts=case.facts,
        instance=_instance(instance_id, group, fleet) if of_instance and fleet.known else None,
        asg=asg,
        scopes=known if group else (),
        changes=fleet.changes if fleet.known else None,
        protected=fleet.protected if fleet.known else None,
    )


def _group(name: str, fleet: Fleet, instance_id: str) -> Group:
    ids = [instance_id or "i-00000000000000000"]
    ids += [f"i-{number:017x}" for number in range(1, fleet.size)]
    # Whoever is out comes last: the alert's own instance serves, as far as AWS knows.
    members = {
        one: Member(
            id=one,
            az=(fleet.zones or [f"zone-{letter}" for letter in _ZONES])[
                number % len(fleet.zones or _ZONES)
            ],
            lifecycle="InService",
            healthy=number < fleet.size - fleet.out,
            version=(fleet.versions or ["1"])[number % len(fleet.versions or ["1"])],
        )
        for number, one in enumerate(ids)
    }
    return Group(
        name=name,
        minimum=fleet.min,
        maximum=fleet.max,
        desired=fleet.desired if fleet.desired is not None else fleet.size,
        members=members,
        tags={OPT_IN_TAG: "true"} if fleet.opted_in else {},
    )


def _instance(instance_id: str, group: str | None, fleet: Fleet) -> Instance:
    return Instance(
        id=instance_id,
        state=fleet.state,
        launched_at=_NOW - fleet.launched_ago_s,
        group=group,
        az="zone-a",
        tags={OPT_IN_TAG: "true"} if fleet.opted_in else {},
    )


def _overrides(given: Given) -> Sequence[Override]:
    if given.override is None:
        return ()
    return (
        Override(
            id="0" * 26,
            matchers=(),
            effect=given.override,
            starts_at=_NOW - 1,
            ends_at=_NOW + 600,
            created_by="somebody",
            comment="given by the test",
        ),
    )
