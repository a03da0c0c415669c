"""Unit tests for playbooks, in YAML: an alert and its circumstances, and the expected decision.

As in `promtool test rules`, the code under test is the real one. The test contains the answers of
Prometheus and AWS, so neither is called.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from receiver.decision.decide import decide
from receiver.decision.model import Decision, Refuse
from receiver.playbook_testing.cases import TestCase, TestFile
from receiver.playbook_testing.inputs import Judge, guard_input
from receiver.playbooks.loader import Finding, Playbooks, findings
from receiver.playbooks.yaml_source import YamlError, read


@dataclass(frozen=True, kw_only=True)
class Report:
    """The number of passed tests, and a finding for each failed one and each faulty file."""

    passed: int
    findings: Sequence[Finding]


def run(folder: Path, playbooks: Playbooks, judge: Judge) -> Report:
    """Run all `tests/*.yaml` of a folder of playbooks; `judge` is the model."""
    passed, faults = 0, list[Finding]()
    for file in sorted((folder / "tests").glob("*.yaml")):
        try:
            value, lines = read(file)
        except YamlError as error:
            faults.append(Finding(file=file, line=error.line, message=error.message))
            continue
        try:
            cases = TestFile.model_validate(value).tests
        except ValidationError as error:
            faults += findings(file, lines, (), error)
            continue
        for number, case in enumerate(cases):
            differences = list(_differences(case, playbooks, judge))
            line = lines.of(("tests", number, "name"))
            faults += [
                Finding(file=file, line=line, message=f"{case.name}: {difference}")
                for difference in differences
            ]
            passed += not differences
    return Report(passed=passed, findings=faults)


def _differences(case: TestCase, playbooks: Playbooks, judge: Judge) -> Iterator[str]:
    decision, expect = decide(guard_input(case, playbooks, judge)), case.expect
    name = "refuse" if isinstance(decision, Refuse) else type(decision).__name__.lower()
    if name != expect.decision:
        yield f"expected {expect.decision}, got {name}: {_describe(decision)}"
        return
    if isinstance(decision, Refuse):
        if expect.refusal is not None and decision.reason is not expect.refusal:
            yield f"expected {expect.refusal}, got {decision.reason}: {decision.detail}"
        return
    step, target = decision.plan.step, decision.plan.target
    for expected, actual in (
        (expect.action, step.action),
        (expect.target, target),
        (expect.params, dict(step.params)),
    ):
        if expected is not None and expected != actual:
            yield f"expected {expected}, got {actual}"


def _describe(decision: Decision) -> str:
    if isinstance(decision, Refuse):
        return f"{decision.reason}, {decision.detail}"
    return f"{decision.plan.step.action} on {decision.plan.target}"
