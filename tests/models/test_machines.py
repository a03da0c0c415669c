"""The re-check's answers on an hour of real machines, as served."""

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.lab.table import count_answers
from receiver.cli.model import evaluate

_HOUR = Path(__file__).parent / "data/machines-hour"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """The answers by kind."""
    scores = tmp_path_factory.mktemp("machines") / "scores.jsonl"
    result = CliRunner().invoke(evaluate, [str(_HOUR), "--scores", str(scores)])
    assert result.exit_code == 0, result.output
    counts = count_answers(_HOUR / "alerts.jsonl", scores)
    return {kind: found for (_, kind), found in counts.items()}


def test_every_alert_of_the_hour_is_answered(answers: dict[str, Counter[str]]) -> None:
    assert sum(map(Counter.total, answers.values())) == 24


@pytest.mark.parametrize("kind", ["cpu_runaway", "fork_storm", "memory_leak"])
def test_what_takes_a_machines_resources_is_confirmed(
    answers: dict[str, Counter[str]], kind: str
) -> None:
    assert set(answers[kind]) == {"confirmed"}


def test_a_surge_is_confirmed_at_every_member(answers: dict[str, Counter[str]]) -> None:
    """A playbook scales the group out then."""
    assert answers["traffic_surge"] == {"confirmed": 12}


def test_a_job_that_never_ran_before_is_left_to_people(answers: dict[str, Counter[str]]) -> None:
    assert answers["batch_job"] == {"undecided": 3}


def test_no_incident_of_a_real_machine_is_refuted(answers: dict[str, Counter[str]]) -> None:
    assert sum(found["refuted"] for found in answers.values()) == 0
