"""What a label chooses is part of the plan that a person approves, and nothing else is."""

from dataclasses import replace
from pathlib import Path

from actions.reasons import Reason
from receiver.decision.decide import decide
from receiver.decision.model import Act, Refuse
from receiver.playbooks.loader import load
from tests.decision.test_decide import INPUTS

_UNIT = load(Path(__file__).parents[2] / "playbooks").named("unit-failed")


def _of(unit: str) -> Act | Refuse:
    labels = {"alertname": "UnitFailed", "name": unit}
    trigger = replace(INPUTS.trigger, labels=labels)
    decision = decide(replace(INPUTS, trigger=trigger, playbooks=_UNIT))
    assert isinstance(decision, Act | Refuse), decision
    return decision


def test_the_plan_has_what_the_label_chose() -> None:
    """Another choice is another plan."""
    nginx, app = _of("nginx.service"), _of("app.service")
    assert isinstance(nginx, Act)
    assert isinstance(app, Act)
    assert nginx.plan.step.params == {"service": "nginx"}
    assert app.plan.step.params == {"service": "app"}
    assert nginx.plan.digest != app.plan.digest


def test_a_unit_that_is_not_listed_is_refused_by_name() -> None:
    decision = _of("sshd.service")
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NOT_LISTED
    assert "the label name has 'sshd.service'" in decision.detail
