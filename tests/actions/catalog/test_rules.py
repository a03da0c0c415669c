"""The weights of a listener's rule."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from actions.aws.target_errors import NotActionableError
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from tests.actions.catalog.catalog_fixtures import BLUE, GREEN, GROUP, RULE, World

_shift = CATALOG["shift_traffic"]
_SIGN_IN: dict[str, Any] = {
    "Type": "authenticate-oidc",
    "Order": 1,
    "AuthenticateOidcConfig": {
        "Issuer": "https://id.example",
        "AuthorizationEndpoint": "https://id.example/authorize",
        "TokenEndpoint": "https://id.example/token",
        "UserInfoEndpoint": "https://id.example/user",
        "ClientId": "web",
    },
}
_PARAMS = {"rule": RULE, "weights": {BLUE: 0, GREEN: 100}}


@pytest.fixture
def world() -> World:
    return World()


def _forward(blue: int, green: int) -> dict[str, Any]:
    weights = ((BLUE, blue), (GREEN, green))
    return {
        "Type": "forward",
        "Order": 2,
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights],
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 300},
        },
    }


def _has(world: World, *actions: Mapping[str, Any]) -> None:
    world.emulator.world.rules[RULE] = [dict(action) for action in actions]


def test_only_the_weights_of_a_rule_change(world: World) -> None:
    """Order and stickiness stay, and signing in keeps the secret that AWS does not show."""
    call = world.call(GROUP, **_PARAMS)
    _has(world, _SIGN_IN, _forward(90, 10))
    observation = _shift.observe(call)
    assert (observation.already, observation.before) == (False, {"weights": {BLUE: 90, GREEN: 10}})
    assert _shift.act(call) == {}
    oidc, forward = world.emulator.world.rules[RULE]
    kept = oidc["AuthenticateOidcConfig"]
    assert kept == _SIGN_IN["AuthenticateOidcConfig"] | {"UseExistingClientSecret": True}
    assert forward == _forward(0, 100)
    undo = _shift.undo(replace(call, before=observation.before))
    assert undo is not None
    assert undo.params == {"rule": RULE, "weights": {BLUE: 90, GREEN: 10}}


@pytest.mark.parametrize(
    ("weights", "outcome"),
    [
        ((0, 100), Outcome.CHANGED),
        ((90, 10), Outcome.FAILED),
        ((50, 50), Outcome.UNKNOWN),
    ],
)
def test_a_lost_shift_is_settled_by_the_weights(
    world: World, weights: tuple[int, int], outcome: Outcome
) -> None:
    """And once a person has changed them, they are not ours to take back."""
    call = world.call(GROUP, **_PARAMS)
    call = replace(call, before={"weights": {BLUE: 90, GREEN: 10}})
    _has(world, _forward(*weights))
    assert _shift.read_back(call).outcome is outcome
    assert _shift.unchanged_since(call) is (outcome is Outcome.CHANGED)


def test_a_rule_that_is_another_is_not_changed(world: World) -> None:
    """Other target groups, no forwarding, or no rule at all."""
    stranger = BLUE.replace("blue", "red")
    with pytest.raises(NotActionableError, match="other target groups"):
        _shift.observe(world.call(GROUP, rule=RULE, weights={BLUE: 0, stranger: 100}))
    _has(world, {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}})
    with pytest.raises(NotActionableError, match="needs exactly one forward action"):
        _shift.observe(world.call(GROUP, **_PARAMS))
    del world.emulator.world.rules[RULE]
    with pytest.raises(ClientError, match="RuleNotFound"):
        _shift.observe(world.call(GROUP, **_PARAMS))
