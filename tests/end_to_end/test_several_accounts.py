"""Accounts and regions in which everything has the same name: nothing of one reaches another."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from botocore.parsers import ResponseParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.aws.tags import OPT_IN_TAG
from actions.execution import claims, kill_switch
from actions.execution.kill_switch import Pause
from actions.place import HOME, Place
from demo.aws.faults import DroppedError
from demo.aws.world import AwsError
from receiver.controls import adoption, overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import State
from tests.end_to_end.places_fixtures import (
    ACCOUNTS,
    HUB,
    PLACES,
    RARE,
    REGIONS,
    SIZE,
    SPOKE,
    Places,
    address,
    labels_of,
    member_id,
)
from tests.executors import claim_request

_HUB_US, _HUB_EU, _SPOKE_US, _SPOKE_EU = PLACES
# Of the suite; `make places` draws ten thousand.
_EXAMPLES = 40 if settings().max_examples <= 100 else settings().max_examples


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places(tmp_path)
    yield places
    places.close()


@dataclass(frozen=True)
class Drawn:
    """An alert, and where AWS has what it names, as far as its other labels allow."""

    labels: dict[str, str]
    target: Callable[[Place], str]
    where: Sequence[Place]


@st.composite
def _alerts(draw: st.DrawFn) -> Drawn:
    labels: dict[str, str] = {}
    fitting = list(PLACES)
    account = draw(st.sampled_from(["", "", HUB, SPOKE, "999999999999"]))
    if account:
        labels[draw(st.sampled_from(["account", "account_id", "owner_id", "aws_account_id"]))] = (
            account
        )
        fitting = [place for place in fitting if place.account == account]
    region = draw(st.sampled_from(["", "", *REGIONS, "ap-south-1"]))
    if region:
        labels[draw(st.sampled_from(["region", "aws_region", "cloud_region"]))] = region
        fitting = [place for place in fitting if place.region == region]
    member = draw(st.integers(0, SIZE - 1))
    zone = draw(st.sampled_from(["", "", *REGIONS]))
    if zone:
        labels[draw(st.sampled_from(["az", "zone", "dc"]))] = f"{zone}{'abca'[member]}"
        fitting = [place for place in fitting if place.region == zone]
    own = draw(st.sampled_from(PLACES))
    named, where = draw(
        st.sampled_from(
            [
                ({"instance_id": member_id(own, member)}, [own]),
                ({"instance": f"{address(member)}:9100"}, PLACES),
                ({"hostname": f"ip-{address(member).replace('.', '-')}"}, PLACES),
                ({"instance_id": "i-00000000000000fff"}, []),
                ({"alertname": "Busy", "asg": "web-asg"}, PLACES),
                ({"alertname": "Busy", "asg": RARE}, PLACES[:1]),
            ]
        )
    )
    if "asg" not in named and draw(st.booleans()):
        labels["asg"] = "web-asg"
    fitting = [place for place in fitting if place in where]
    group = named.get("asg")
    labels = {"alertname": "HighCPU", **labels, **named}
    return Drawn(labels, lambda place: group or member_id(place, member), fitting)


def test_no_label_leads_to_a_wrong_account_or_region(capsys: pytest.CaptureFixture[str]) -> None:
    """Acts happen where exactly one place has what the alert names, and nowhere else."""
    with tempfile.TemporaryDirectory() as folder:
        places, counts = Places(Path(folder)), Counter[str]()

        @given(_alerts())
        @settings(max_examples=_EXAMPLES)
        def check(drawn: Drawn) -> None:
            # After the cooldowns and the limits of the example before.
            places.now += 2 * 86_400
            places.populate()
            places.deliver_labels(drawn.labels)
            places.pass_time(5)
            named = {(place, drawn.target(place)) for place in drawn.where}
            right = named if len(named) == 1 else set()
            assert places.acts() == right
            counts.update(alerts=1, acts=len(right))
            while places.in_flight():
                places.pass_time(10)

        check()
        places.close()
    with capsys.disabled():
        click.echo(f" {counts['alerts']} alerts, {counts['acts']} acts, each in the right place")


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"alertname": "Busy", "asg": "web-asg"}, PLACES),
        ({"alertname": "Busy", "asg": "web-asg", "account": SPOKE}, PLACES[2:]),
        ({"alertname": "HighCPU", "instance": f"{address(0)}:9100", "region": REGIONS[1]}, None),
    ],
)
def test_a_missing_label_is_no_target_and_the_places_are_named(
    places: Places, labels: dict[str, str], named: Sequence[Place] | None
) -> None:
    """Its reader knows which label the rule lacks."""
    places.deliver_labels(labels)
    places.pass_time(5)
    run = places.only()
    assert (run.refusal, run.account, places.acts()) == ("no_target", None, set())
    for place in named or ():
        assert str(place) in (run.outcome or "")


def _refuse(code: str, status: int = 403) -> Callable[[str, str], None]:
    def trouble(operation: str, when: str) -> None:
        del operation, when
        raise AwsError(code, status=status)

    return trouble


def _drop(operation: str, when: str) -> None:
    del operation, when
    raise DroppedError


def _garble(operation: str, when: str) -> None:
    del operation, when
    raise ResponseParserError


@pytest.mark.parametrize(
    "trouble", [_refuse("AccessDenied"), _drop, _refuse("RequestLimitExceeded", 503), _garble]
)
def test_a_place_that_does_not_answer_is_unknown_alone(
    places: Places, trouble: Callable[[str, str], None]
) -> None:
    """It is named, by the name that says nothing of its number; all others act as before."""
    places.at(_SPOKE_EU).trouble = trouble
    for place in PLACES:
        places.deliver_labels(labels_of(place, instance_id=member_id(place, 1), asg="web-asg"))
    places.pass_time(5)
    refused = [run for run in places.runs() if run.refusal]
    assert [(run.refusal, run.place) for run in refused] == [("state_unknown", _SPOKE_EU)]
    assert places.acts() == {(place, member_id(place, 1)) for place in PLACES[:3]}
    places.service.accounts.run_once()
    answer = places.service.checks()["aws"]
    assert answer.startswith("spoke/eu-west-1: ")
    assert ";" not in answer
    assert SPOKE not in answer
    usable = places.registry.get_sample_value(
        "smartcloudops_account_usable", {"account": "spoke", "region": "eu-west-1"}
    )
    assert usable == 0
    places.at(_SPOKE_EU).trouble = lambda *_: None
    places.service.accounts.run_once()
    assert places.service.checks()["aws"] == "ok"


def test_two_groups_of_one_name_never_meet(places: Places) -> None:
    """No claim, cooldown or limit of one is of the other, and what is cleared is of one alone."""
    for place in PLACES:
        places.deliver_labels(labels_of(place, instance_id=member_id(place, 0), asg="web-asg"))
    places.pass_time(40)
    for place in PLACES:
        places.deliver_labels({**labels_of(place, asg="web-asg"), "alertname": "Busy"})
    places.pass_time(60)
    assert places.acts() == {
        (place, name) for place in PLACES for name in (member_id(place, 0), "web-asg")
    }
    with places.state.write() as connection:
        cooling = claims.list_active(connection, places.now, within=Place(SPOKE))
        assert [claim.place for claim in cooling if claim.target == "web-asg"] == [
            _SPOKE_EU,
            _SPOKE_US,
        ]
        assert claims.clear_cooldown(connection, _SPOKE_EU, "web-asg", places.now)
        left = claims.claims_on(connection, _SPOKE_US, "web-asg")["web-asg"]
        assert left.cooldown_until > places.now


def _pause(places: Places, account: str, region: str) -> None:
    pause = Pause(
        account=account, region=region, comment="why", changed_by="alice", changed_at=places.now
    )
    with places.state.write() as connection:
        kill_switch.set_paused_at(connection, pause, paused=True)


def _hold(places: Places, *matchers: str) -> None:
    override = Override(
        id="0" * 26,
        matchers=[parse(matcher) for matcher in matchers],
        effect=Effect.HOLD,
        starts_at=places.now,
        ends_at=places.now + 600,
        created_by="alice",
        comment="why",
    )
    with places.state.write() as connection:
        overrides.add(connection, override, places.now)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after the decision"])
@pytest.mark.parametrize(
    ("stop", "stopped"),
    [
        (lambda places: _pause(places, SPOKE, ""), PLACES[2:]),
        (lambda places: _pause(places, "", "eu-west-1"), [_HUB_EU, _SPOKE_EU]),
        (lambda places: _pause(places, HUB, "us-east-1"), [_HUB_US]),
        (lambda places: _hold(places, f'account="{SPOKE}"'), PLACES[2:]),
        (lambda places: _hold(places, f'account="{HUB}"', 'region="eu-west-1"'), [_HUB_EU]),
    ],
)
def test_a_pause_or_a_hold_of_an_account_or_a_region_stops_just_that(
    places: Places, stop: Callable[[Places], None], stopped: Sequence[Place], *, late: bool
) -> None:
    """By what the target is, also where the alert does not say it."""
    if not late:
        stop(places)
    for place in PLACES:
        labels = {"alertname": "HighCPU", "instance_id": member_id(place, 2), "asg": "web-asg"}
        places.deliver_labels(labels)
    if late:
        places.dispatcher.dispatch()
        stop(places)
    places.pass_time(5)
    going = [place for place in PLACES if place not in stopped]
    assert places.acts() == {(place, member_id(place, 2)) for place in going}
    assert {run.place for run in places.runs() if run.state is State.REFUSED} == set(stopped)


def test_an_account_has_a_mode_of_its_own_and_a_region_too(tmp_path: Path) -> None:
    """The lowest of all modes counts."""
    text = ACCOUNTS.replace("name: spoke", "name: spoke\n    mode: observe").replace(
        "name: hub,", "name: hub, modes: {eu-west-1: approve},"
    )
    places = Places(tmp_path, text)
    for place in PLACES:
        places.deliver_labels(labels_of(place, instance_id=member_id(place, 0)))
    places.pass_time(5)
    states = {run.place: run.state for run in places.runs()}
    assert (states[_HUB_EU], states[_SPOKE_US]) == (State.AWAITING_APPROVAL, State.OBSERVED)
    assert places.acts() == {(_HUB_US, member_id(_HUB_US, 0))}
    places.close()


def test_an_account_has_an_opt_in_tag_of_its_own(tmp_path: Path) -> None:
    """What has the usual tag alone is not opted in there, and elsewhere it is."""
    places = Places(tmp_path, opt_in_tags={SPOKE: "team:heal"})
    world = places.at(_SPOKE_US).world
    for tags in (each.tags for some in (world.groups, world.instances) for each in some.values()):
        tags["team:heal"] = tags.pop(OPT_IN_TAG, "true")
    for place in PLACES:
        places.deliver_labels(labels_of(place, instance_id=member_id(place, 0), asg="web-asg"))
    places.pass_time(5)
    assert {run.place: run.refusal for run in places.runs() if run.refusal} == {
        _SPOKE_EU: "target_unproven"
    }
    right = [place for place in PLACES if place != _SPOKE_EU]
    assert places.acts() == {(place, member_id(place, 0)) for place in right}
    places.close()


def test_what_was_on_record_becomes_the_accounts_own(tmp_path: Path) -> None:
    """A cooldown from before the file still counts; without the file nothing starts."""
    places = Places(tmp_path)
    target, own = member_id(_HUB_US, 0), _HUB_US
    with places.state.write() as connection:
        claims.acquire(connection, claim_request(target, "1" * 26, cooldown_s=3600), places.now)
        claims.release(connection, "1" * 26)
    adoption.adopt(places.state, own, PLACES, places.now)
    places.deliver_labels(labels_of(own, instance_id=target))
    places.pass_time(5)
    assert (places.only().refusal, places.acts()) == ("cooldown", set())
    with pytest.raises(adoption.PlacesLostError):
        adoption.require_places(places.state, [HOME], places.now)
    adoption.require_places(places.state, PLACES, places.now)
    places.close()


def test_clients_that_reach_another_account_prove_no_target(places: Places) -> None:
    """The owner that EC2 tells counts, too, whatever the credentials are thought to be."""
    places.regions[_SPOKE_EU] = places.regions[_HUB_EU]
    target = member_id(_HUB_EU, 0)
    places.deliver_labels(labels_of(_SPOKE_EU, instance_id=target, asg="web-asg"))
    places.pass_time(5)
    assert (places.only().refusal, places.acts()) == ("target_unproven", set())
    assert f"elsewhere than in {_SPOKE_EU}" in (places.only().outcome or "")
