"""Roles are assumed and proven before anything is sent, and again after each refresh."""

import threading
import time
from collections.abc import Iterator

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from werkzeug.serving import make_server

from actions.aws.account_access import AccountAccess, UnknownPlaceError, WrongAccountError
from actions.aws.clients import PlaceClients, connect
from actions.aws.instances import ping
from actions.place import HOME, Place
from demo.aws.organization import Organization, Role
from tests.conftest import Clock

HUB, SPOKE = "111111111111", "222222222222"
_ROLE = f"arn:aws:iam::{SPOKE}:role/smartcloudops"
_PLACE = Place(SPOKE, "eu-west-1")


@pytest.fixture
def organization(monkeypatch: pytest.MonkeyPatch) -> Iterator[Organization]:
    """With a hub, whose key AWS knows, and a role that trusts it."""
    organization = Organization(Clock(time.time()), keys={"AKIAHUB": HUB})
    organization.roles[_ROLE] = Role(_ROLE, {HUB}, "between-us")
    for account in (HUB, SPOKE):
        organization.add(account, "eu-west-1")
    server = make_server("127.0.0.1", 0, organization, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHUB")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    yield organization
    server.shutdown()


def _clients(*accesses: AccountAccess) -> PlaceClients:
    return PlaceClients(connect(), accesses)


def _access(**changes: str) -> AccountAccess:
    given = {"account": SPOKE, "role_arn": _ROLE, "external_id": "between-us", **changes}
    return AccountAccess(**given)


def _operations(organization: Organization, account: str) -> list[str]:
    return organization.regions[account, "eu-west-1"].operations()


def test_a_role_is_assumed_once_for_all_clients(organization: Organization) -> None:
    """With the external id and a session that CloudTrail can name."""
    at = _clients(_access()).at
    for _ in range(2):
        ping(at(_PLACE))
    (assumed,) = organization.assumed
    assert (assumed["RoleSessionName"], assumed["ExternalId"]) == ("smartcloudops", "between-us")
    assert _operations(organization, SPOKE) == ["DescribeInstances"] * 2
    assert _operations(organization, HUB) == []


@pytest.mark.parametrize("external_id", ["guessed", None])
def test_a_role_that_may_not_be_assumed_sends_nothing(
    organization: Organization, external_id: str
) -> None:
    """The account that was not reached is the only one without an answer."""
    at = _clients(_access(external_id=external_id), AccountAccess(account=HUB)).at
    with pytest.raises(ClientError, match="AccessDenied"):
        ping(at(_PLACE))
    assert _operations(organization, SPOKE) == []
    ping(at(Place(HUB, "eu-west-1")))
    assert _operations(organization, HUB) == ["DescribeInstances"]


def test_credentials_of_another_account_send_nothing(organization: Organization) -> None:
    """A role of another account, and own credentials that were changed for others."""
    wrong = _clients(
        AccountAccess(account="333333333333", role_arn=_ROLE, external_id="between-us")
    )
    with pytest.raises(WrongAccountError):
        ping(wrong.at(Place("333333333333", "eu-west-1")))
    own = _clients(AccountAccess(account=HUB)).at(Place(HUB, "eu-west-1"))
    ping(own)
    organization.keys["AKIAHUB"] = SPOKE
    with pytest.raises(WrongAccountError):
        ping(_clients(AccountAccess(account=HUB)).at(Place(HUB, "eu-west-1")))
    assert _operations(organization, SPOKE) == []


def test_an_account_that_no_file_names_is_refused(organization: Organization) -> None:
    """What was on record before there was a file is the service's own."""
    at = _clients(_access()).at
    with pytest.raises(UnknownPlaceError):
        at(Place("444444444444", "eu-west-1"))
    ping(at(HOME))
    assert _operations(organization, HUB) == ["DescribeInstances"]


def test_a_revoked_session_is_denied(organization: Organization) -> None:
    """Its sessions are denied everything at once."""
    aws = _clients(_access()).at(_PLACE)
    ping(aws)
    organization.roles[_ROLE].revoked_at = time.time() + 1
    with pytest.raises((ClientError, BotoCoreError), match="AccessDenied"):
        ping(aws)


def test_a_session_is_refreshed_ahead_of_its_end_and_proven_again(
    organization: Organization,
) -> None:
    """Nothing is sent with one that has ended, or with what is of another account since."""
    clock = organization.clock
    assert isinstance(clock, Clock)
    # The first session ends in five minutes, the second in an hour.
    clock.now -= 3600 - 300
    aws = _clients(_access()).at(_PLACE)
    ping(aws)
    clock.now = time.time()
    for _ in range(3):
        ping(aws)
    assert len(organization.assumed) == 2
    assert _operations(organization, SPOKE) == ["DescribeInstances"] * 4

    clock.now -= 3600 - 300
    aws = _clients(_access()).at(_PLACE)
    ping(aws)
    clock.now = time.time()
    organization.roles[_ROLE] = Role(_ROLE.replace(SPOKE, HUB), {HUB}, "between-us")
    with pytest.raises(WrongAccountError):
        ping(aws)
    assert _operations(organization, SPOKE) == ["DescribeInstances"] * 5
    assert _operations(organization, HUB) == []
