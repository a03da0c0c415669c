"""The dispatcher under a storm of alerts from many threads, some of whose decisions break.

`make stress` sends a hundred thousand.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select
from structlog.typing import EventDict

from actions.tables import audit
from models.inference.verdict import Answer
from receiver.db.tables import runs
from receiver.runs import intake
from receiver.runs.model import State
from receiver.runtime.pools import Pool
from receiver.webhook.payload import Alert
from receiver.workflow.dispatcher import lanes_of_account
from tests.end_to_end.whole_fixtures import Whole, verdict

_ALERTS, _THREADS, _BATCH = int(os.environ.get("STRESS_ALERTS", "2000")), 8, 50
# Alerts a second that are decided on in the worst case, and the breaks of a decision until its end.
_SLOWEST, _TRIES = 20, 3


def test_a_storm_from_many_threads_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Each alert ends once, for the reason that its own decision had; nothing raises."""
    whole = Whole(tmp_path)
    calm = [host for number in range(8) for host in whole.group(f"calm-{number}")]
    breaking = [whole.group(f"breaks-{number}")[0] for number in range(12)]
    # A third of them breaks for good; the others break once or twice.
    breaks = {host: 1 + number % _TRIES for number, host in enumerate(breaking)}
    whole.breaks = dict(breaks)
    for host in (*calm, *breaking):
        whole.verdicts[host] = verdict(Answer.REFUTED)
    hosts = calm * (_ALERTS // len(calm))
    alerts = [_alert(whole, host, number) for number, host in enumerate([*hosts, *breaking])]
    dispatcher = replace(whole.dispatcher, pool=Pool(_THREADS, "stress"), monotonic=time.monotonic)
    with _logged() as logs, ThreadPoolExecutor(_THREADS) as senders:
        dispatcher.start()
        batches = [alerts[start : start + _BATCH] for start in range(0, len(alerts), _BATCH)]
        assert sum(senders.map(lambda batch: _send(whole, batch), batches)) == len(alerts)
        deadline = time.monotonic() + 60 + len(alerts) / _SLOWEST
        while (ended := _refusals(whole)).total() < len(alerts):
            assert time.monotonic() < deadline, ended
            time.sleep(0.2)
        dispatcher.stop()
    assert ended["internal_error"] == [*breaks.values()].count(_TRIES)
    assert set(ended) <= {"internal_error", "verdict_refuted", "storm"}, ended
    errors = [error for _, error in logs if error is not None]
    broken = [error for error in errors if isinstance(error, ArithmeticError)]
    assert len(broken) == sum(breaks.values())
    assert errors == broken
    for reason, count in ended.items():
        labels = {"reason": str(reason)}
        name = "smartcloudops_refusals_total"
        assert whole.registry.get_sample_value(name, labels) == count
    assert _recorded(whole, "run_refused") == len(alerts)
    whole.close()


class _Busy(Executor):
    """A pool that is never done; `lanes` are what it was given."""

    def __init__(self) -> None:
        self.lanes: list[str] = []

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        del fn
        self.lanes.append(args[0][0].lane)
        return Future()


def test_a_storm_in_one_account_leaves_lanes_to_the_others(tmp_path: Path) -> None:
    """Groups of one name are lanes of their own, in each account and region."""
    whole = Whole(tmp_path)
    stormy, calm = "111111111111", "222222222222"
    places = [(stormy, "us-east-1", f"web-{number}") for number in range(9)]
    places += [(stormy, "eu-west-1", "web-0"), (calm, "us-east-1", "web-0"), ("", "", "web-0")]
    alerts = [
        replace(_alert_at(whole, number), labels=_labels(*place))
        for number, place in enumerate(places)
    ]
    assert _send(whole, alerts) == len(alerts)
    queued = whole.inbox.queued(len(alerts))
    with whole.state.write() as connection:
        intake.insert_from_inbox(connection, queued, whole.now)
    pool = _Busy()
    replace(whole.dispatcher, pool=pool, lanes_of_account=lanes_of_account(8, 2)).dispatch()
    assert Counter(map(intake.account_of, pool.lanes)) == {stormy: 2, calm: 1, "": 1}
    assert lanes_of_account(8, 1) is None
    pool = _Busy()
    replace(whole.dispatcher, pool=pool).dispatch()
    assert sorted(pool.lanes) == sorted("/".join(filter(None, place)) for place in places)
    whole.close()


def _labels(account: str, region: str, group: str) -> dict[str, str]:
    where = {"account": account, "region": region} if account else {}
    return {"alertname": "HighCPU", "asg": group, **where}


@contextmanager
def _logged() -> Iterator[list[tuple[str, BaseException | None]]]:
    """The events that are logged, each with the error that it reports."""
    entries: list[tuple[str, BaseException | None]] = []

    def record(_: object, __: str, event: EventDict) -> EventDict:
        entries.append((event["event"], sys.exc_info()[1] if "exc_info" in event else None))
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = [*processors]
    processors[:] = [record]
    yield entries
    processors[:] = before


def _alert(whole: Whole, host: str, number: int) -> Alert:
    group = whole.aws.world.group_of(host)
    assert group is not None
    labels = {"alertname": "HighCPU", "instance_id": host, "asg": group.name, "cpu": str(number)}
    return replace(_alert_at(whole, number), labels=labels)


def _alert_at(whole: Whole, number: int) -> Alert:
    return Alert(
        key=f"{number:016}",
        fingerprint=f"{number:016}",
        firing=True,
        labels={},
        annotations={},
        starts_at=whole.now - 20,
        ends_at=None,
    )


def _send(whole: Whole, alerts: Sequence[Alert]) -> int:
    return whole.inbox.submit(alerts, whole.now).result().accepted


def _refusals(whole: Whole) -> Counter[str]:
    query = select(runs.c.refusal, func.count()).where(runs.c.state == State.REFUSED)
    with whole.state.read() as connection:
        rows = connection.execute(query.group_by(runs.c.refusal)).all()
    return Counter(dict(rows))


def _recorded(whole: Whole, event: str) -> int:
    query = select(func.count()).select_from(audit).where(audit.c.event == event)
    with whole.state.read() as connection:
        return connection.execute(query).scalar_one()
