"""Compares playbooks with the alert rules that they match: each re-check must imply its rule.

A re-check that is weaker than its rule confirms alerts that Prometheus would not send: an attacker
with the webhook's token could then have a healthy host terminated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actions.base import TargetKind
from actions.catalog.registry import CATALOG
from receiver.playbooks.alert_rules import OWN_ALERTS, AlertRule, AlertRules
from receiver.playbooks.loader import Finding, load_file
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.promql.measure import PromqlError, metric_names, parse
from receiver.playbooks.promql.terms import Alternatives, Term, TermReader, either_with
from receiver.playbooks.schema import Playbook, Verify
from receiver.playbooks.yaml_source import Lines
from receiver.settings import NODE_JOB


@dataclass(frozen=True, kw_only=True)
class RuleCheck:
    """The result; `findings` must be fixed, a person judges `warnings`."""

    findings: Sequence[Finding]
    warnings: Sequence[Finding]


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    lines: Lines
    playbook: Playbook

    def finding(self, path: tuple[str | int, ...], message: str) -> Finding:
        return Finding(file=self.path, line=self.lines.of(path), message=message)


def check_rules(folder: Path, rules: AlertRules, job: str = NODE_JOB) -> RuleCheck:
    """Compare each playbook of the folder with its rules, with `job` for `$job`.

    Faulty playbooks are left out.
    """
    findings, warnings = list(rules.findings), list[Finding]()
    for path in sorted(folder.glob("*.yaml")):
        playbook, lines, _ = load_file(path, job)
        if playbook is None:
            continue
        file = _File(path=path, lines=lines, playbook=playbook)
        matched = [rule for rule in rules.alerts if _may_match(playbook, rule)]
        if playbook.recheck and playbook.alertname not in OWN_ALERTS:
            findings += _recheck_findings(file, matched, rules)
        if matched:
            warnings += _verify_warnings(file, matched, rules)
    return RuleCheck(findings=findings, warnings=warnings)


def _may_match(playbook: Playbook, rule: AlertRule) -> bool:
    """Whether the playbook may match an alert of the rule, whose series may have any labels."""
    labels = {**rule.labels, "alertname": rule.name}
    return all(
        matcher.matches(labels)
        for matcher in playbook.match
        if matcher.name in labels and "{{" not in labels[matcher.name]
    )


def _recheck_findings(
    file: _File, matched: Sequence[AlertRule], rules: AlertRules
) -> Iterator[Finding]:
    if not matched:
        message = "recheck: the playbook matches none of the alert rules"
        yield file.finding(("recheck",), message)
        return
    scopes = rules.scopes()
    reader = TermReader(records=scopes, of_rule=True)
    required: list[tuple[str, frozenset[Term]]] = []
    for rule in matched:
        try:
            required += [(rule.name, terms) for terms in reader.alternatives(rule.expr)]
        except PromqlError as error:
            yield file.finding(("recheck",), f"recheck: the rule {rule.name} {error}")
            return
    own = TermReader(records=scopes, of_rule=False)
    confirmed: Alternatives = [frozenset()]
    for number, expr in enumerate(file.playbook.recheck):
        try:
            alternatives = own.alternatives(parse(str(render(expr, EXAMPLES))))
            confirmed = either_with(confirmed, alternatives)
        except PromqlError as error:
            yield file.finding(("recheck", number), f"recheck: {error}")
            return
    messages = dict.fromkeys(
        message for terms in confirmed for message in _lacking(terms, required)
    )
    for message in messages:
        yield file.finding(("recheck",), message)


def _lacking(terms: frozenset[Term], required: Sequence[tuple[str, frozenset[Term]]]) -> list[str]:
    """A message for each term of the closest rule that the re-check's terms do not imply."""
    missing: list[tuple[int, int, list[str]]] = []
    for name, needed in required:
        absent = sorted(term.text for term in needed if not any(own.implies(term) for own in terms))
        if not absent:
            return []
        messages = [f"recheck: lacks this condition of the rule {name}: {text}" for text in absent]
        missing.append((len(needed) - len(absent), -len(absent), messages))
    return max(missing)[2]


def _verify_warnings(
    file: _File, matched: Sequence[AlertRule], rules: AlertRules
) -> Iterator[Finding]:
    """A warning for each `verify` that reads neither the alert's series nor its target."""
    about: set[str] = set()
    for rule in matched:
        about |= rules.metrics_behind(rule.expr)
    playbook = file.playbook
    kinds = {CATALOG[step.action].target for step in playbook.steps if step.verify is None}
    parts: list[tuple[tuple[str | int, ...], Verify, set[TargetKind]]] = []
    if playbook.verify is not None:
        parts.append((("verify",), playbook.verify, kinds))
    parts += [
        (("steps", number, "verify"), step.verify, {CATALOG[step.action].target})
        for number, step in enumerate(playbook.steps)
        if step.verify is not None
    ]
    for path, verify, targets in parts:
        where = (*path, "expr")
        try:
            expr = parse(str(render(verify.expr, EXAMPLES)))
        except PromqlError as error:
            yield file.finding(where, f"verify: {error}")
            continue
        if not rules.metrics_behind(expr) & about:
            series = ", ".join(
                sorted({name for rule in matched for name in metric_names(rule.expr)})
            )
            yield file.finding(where, f"verify: reads none of the alert's metrics: {series}")
        of_host = TargetKind.INSTANCE in targets
        needed = "$selector" if of_host else "$members"
        names = {"$instance_id", "$selector"} | (set() if of_host else {"$asg", "$members"})
        if not any(name in verify.expr for name in names):
            yield file.finding(where, f"verify: does not name the target ({needed})")
