"""An alert does not wait behind a storm in another account, nor before a more severe one."""

from receiver.runs import intake
from receiver.webhook import payload
from receiver.webhook.episodes import QueuedAlert

_NOW = 1_800_000_000.0
_STORMY, _CALM = "111111111111", "222222222222"


def _queued(number: int, account: str, severity: str = "warning") -> QueuedAlert:
    labels = {"alertname": "HighCPU", "asg": "web", "account": account, "severity": severity}
    alert = payload.parse_alert({"labels": labels}, _NOW)
    assert alert is not None
    return QueuedAlert(id=f"{number:026d}", received_at=_NOW, alert=alert)


def test_accounts_are_taken_in_turn_and_severity_first() -> None:
    severe = [_queued(0, _STORMY, "critical"), _queued(1, _STORMY, "critical")]
    storm = [_queued(number, _STORMY) for number in range(2, 10)]
    calm = [_queued(10, _CALM), _queued(11, _CALM)]
    taken = intake.take_fairly([*severe, *storm, *calm], 6)
    assert taken == [*severe, calm[0], calm[1], storm[0], storm[1]]
    assert intake.take_fairly(storm, 3) == storm[:3]
    assert intake.take_fairly([], 3) == []
