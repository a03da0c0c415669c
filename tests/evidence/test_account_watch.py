"""Many places are asked in turn; one that does not answer is asked each time."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError
from prometheus_client import CollectorRegistry

from actions.aws.client_set import Aws
from actions.place import Place
from bench.scale.fleet import FLEETS
from receiver.evidence.accounts.file import load
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.accounts.watch import AccountMetrics, AccountWatch
from tests.conftest import Clock

_FLEET = FLEETS[10_000]


class _World:
    """An AWS of many places; those `away` refuse connections, those `hanging` answer late."""

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[Place] = Counter()
        self.away: set[Place] = set()
        self.hanging: set[Place] = set()
        self.answers, self.clock = threading.Event(), Clock(1000.0)
        (folder / "accounts.yaml").write_text(_FLEET.accounts_file())
        self.pool = ThreadPoolExecutor(len(_FLEET.places))
        self.watch = AccountWatch(
            readers=AwsReaders(
                aws_at=self._aws_at,
                accounts=load(folder / "accounts.yaml"),
                pool=self.pool,
                trail=False,
                monotonic=self.clock,
            ),
            pool=self.pool,
            metrics=AccountMetrics(CollectorRegistry()),
            answers_within_s=0.2,
        )

    def _aws_at(self, place: Place) -> Aws:
        def describe_instances(**_: Any) -> dict[str, Any]:
            self.asked[place] += 1
            if place in self.hanging:
                assert self.answers.wait(10)
            if place in self.away:
                raise EndpointConnectionError(endpoint_url="https://ec2")
            return {"Reservations": []}

        return cast(
            "Aws", SimpleNamespace(ec2=SimpleNamespace(describe_instances=describe_instances))
        )

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.watch.run_once()
            self.clock.now += 10


def test_each_place_is_asked_in_turn_and_one_that_is_away_each_time(tmp_path: Path) -> None:
    world = _World(tmp_path)
    away = _FLEET.places[-1]
    world.look()
    assert world.asked.total() == 20
    world.look(3)
    assert world.asked == dict.fromkeys(_FLEET.places, 1)
    world.away.add(away)
    world.look(3)
    assert [*world.watch.problems] == [away]
    before = world.asked[away]
    world.look(2)
    assert world.asked[away] == before + 2
    world.away.clear()
    world.look()
    assert world.watch.problems == {}
    world.pool.shutdown()


@pytest.mark.parametrize("whole", ["account", "region"])
def test_one_look_names_all_places_of_an_account_or_a_region_that_is_away(
    tmp_path: Path, whole: str
) -> None:
    for looks in range(4):
        world = _World(tmp_path)
        world.look(looks)
        lost = getattr(_FLEET.places[-1], whole)
        world.away = {place for place in _FLEET.places if getattr(place, whole) == lost}
        world.look()
        assert set(world.watch.problems) == world.away
        world.pool.shutdown()


def test_a_region_that_hangs_is_named_alone_and_not_asked_again(tmp_path: Path) -> None:
    """The others are asked as before."""
    world = _World(tmp_path)
    world.hanging = {place for place in _FLEET.places if place.region == "eu-west-1"}
    world.look(4)
    assert set(world.watch.problems) == world.hanging
    assert {world.asked[place] for place in world.hanging} == {1}
    world.answers.set()
    world.pool.shutdown()
