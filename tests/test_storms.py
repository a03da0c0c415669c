"""How much of a group alerts is counted by instances, however many alerts one of them has."""

from ulid import ULID

from receiver import runs
from receiver.alerts import Alert
from receiver.database import Database
from receiver.episodes import Waiting

_GROUP, _NOW = "web-asg", 1_800_000_000.0


def _waiting(instance: int, at: float) -> Waiting:
    labels = {"alertname": "HighCPU", "instance_id": f"i-{instance:017x}", "asg": _GROUP}
    alert = Alert(
        key="a" * 16,
        fingerprint="a" * 16,
        firing=True,
        labels=labels,
        annotations={},
        starts_at=at,
        ends_at=None,
    )
    return Waiting(id=str(ULID()), received_at=at, alert=alert)


def test_an_instance_with_many_alerts_hides_no_other(state: Database) -> None:
    """Else a flood from one of them would have a storm look like its trouble alone."""
    others = [_waiting(instance, _NOW - 60) for instance in range(1, 5)]
    flood = [_waiting(0, _NOW - 30 + n / 100) for n in range(1500)]
    with state.write() as connection:
        runs.take_in(connection, [*others, *flood], _NOW)
    with state.read() as connection:
        alerting = runs.alerting(connection, _GROUP, _NOW - 300)
    assert len(set(alerting.values())) == 5
    assert len(alerting) == 1000
