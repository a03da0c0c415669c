"""At a window's end what still fires is decided once, and not all of it in one second."""

from collections import Counter
from pathlib import Path

import pytest

from receiver.runs.model import Run, State
from receiver.webhook.missed import MissedAlerts
from receiver.webhook.payload import parse_envelope
from tests.end_to_end.whole_fixtures import PLAYBOOK, Whole

_HOUR_S = 3600.0
# It is 08:00 UTC, and the window opens in an hour.
_WINDOW = "window: {time_intervals: [{times: [{start_time: '09:00', end_time: '17:00'}]}]}\n"


@pytest.fixture
def whole(tmp_path: Path) -> Whole:
    return Whole(tmp_path, playbook=PLAYBOOK + _WINDOW)


def _alerts(whole: Whole) -> list[dict[str, str]]:
    """Of six groups, the last one critical."""
    hosts = [(f"web-{number}", whole.group(f"web-{number}")[0]) for number in range(6)]
    labels = [{"alertname": "HighCPU", "instance_id": host, "asg": group} for group, host in hosts]
    return [*labels[:5], {**labels[5], "severity": "critical"}]


def _undecided(whole: Whole) -> list[Run]:
    return [run for run in whole.runs() if run.state in {State.RECEIVED, State.DECIDING}]


def test_what_still_fires_is_decided_one_after_the_other(whole: Whole) -> None:
    """A critical alert does not wait for the others; a repeat meanwhile opens no second run."""
    alerts = _alerts(whole)
    began = whole.now
    whole.deliver_labels(*alerts, began_s=20)
    whole.work()
    assert Counter(run.refusal for run in whole.runs()) == {"outside_window": 6}
    for passed_s in (*range(300, 3600, 300), _HOUR_S - 0.1):
        whole.now = began + passed_s
        whole.deliver_labels(*alerts, began_s=passed_s + 20)
    assert len(whole.runs()) == 6
    whole.now = began + _HOUR_S
    for _ in range(2):
        whole.deliver_labels(*alerts, began_s=_HOUR_S + 20)
        assert len(whole.runs()) == 12
    whole.work()
    decided = [6 - len(_undecided(whole))]
    assert {run.labels.get("severity") for run in _undecided(whole)} == {None}
    for number in range(1, 6):
        whole.now = began + _HOUR_S + 0.2 * number - 0.01
        whole.work()
        assert 6 - len(_undecided(whole)) == decided[-1]
        whole.now += 0.02
        whole.work()
        decided.append(6 - len(_undecided(whole)))
    assert decided == [2, 3, 4, 5, 6, 6]
    whole.close()


def test_an_alert_that_began_anew_waits_for_none(whole: Whole) -> None:
    """It was not put off."""
    alerts = _alerts(whole)
    whole.deliver_labels(*alerts)
    whole.work()
    whole.now += _HOUR_S
    whole.deliver_labels(*alerts, began_s=20)
    whole.work()
    assert _undecided(whole) == []
    assert len(whole.runs()) == 12
    whole.close()


def test_it_waits_for_no_repeat(whole: Whole) -> None:
    """Alertmanager, asked each minute, tells what still fires; what it does not list is over."""
    alerts = _alerts(whole)
    whole.deliver_labels(*alerts)
    whole.work()
    # The inbox has stored the ends of the runs once it has stored what comes after them.
    whole.deliver_labels()
    (missed,) = (task for task in whole.service.leader_tasks if isinstance(task, MissedAlerts))
    missed.note(parse_envelope(b'{"version": "4", "alerts": [], "receiver": "smartcloudops"}'))
    whole.active = [*alerts[:5]]
    whole.now += _HOUR_S - 1
    missed.run_once()
    assert whole.inbox.queued() == []
    whole.now += 1
    missed.run_once()
    assert [alert.not_before is None for alert in whole.inbox.queued()] == [True, *[False] * 4]
    missed.run_once()
    assert len(whole.inbox.queued()) == 5
    whole.close()
