"""The file of accounts: each fault is named with its line."""

from pathlib import Path

import pytest

from actions.place import HOME, Place
from receiver.evidence.accounts.file import Accounts, InvalidAccountsError, load
from receiver.settings import Mode

_GOOD = """accounts:
  - {id: "111111111111", name: hub, regions: [eu-west-1, us-east-1], mode: approve}
  - id: "222222222222"
    name: spoke
    role_arn: arn:aws:iam::222222222222:role/smartcloudops
    external_id: between-us
    regions: [eu-west-1]
    budget: 10%
"""


def _load(tmp_path: Path, text: str) -> Accounts:
    file = tmp_path / "accounts.yaml"
    file.write_text(text)
    return load(file)


def test_each_account_has_its_regions_and_its_limits(tmp_path: Path) -> None:
    """Records without a place are of the service's own region, if the file has it."""
    accounts = _load(tmp_path, _GOOD)
    own, other, spoke = accounts.places
    assert (own, spoke) == (Place("111111111111", "eu-west-1"), Place("222222222222", "eu-west-1"))
    assert accounts.own_place("us-east-1") == other
    assert accounts.own_place("ap-south-1") is None
    assert [accounts.mode_at(place) for place in (own, spoke, Place("3" * 12, "eu-west-1"))] == [
        Mode.APPROVE,
        Mode.AUTO,
        Mode.OBSERVE,
    ]
    assert accounts.by_place[spoke].budget == 10
    assert accounts.name_of(spoke) == "spoke/eu-west-1"
    assert load(None).places == [HOME]


@pytest.mark.parametrize(
    ("written", "wrong", "message"),
    [
        ('"111111111111"', "111111111111", "2: id: Input should be a valid string"),
        ("222222222222:role", "333333333333:role", "role_arn is of another account than id"),
        ("name: spoke", "name: hub", "two accounts have the same name"),
        ('"222222222222"', '"111111111111"', "role_arn is of another account"),
        ("[eu-west-1]", "[eu-west]", "String should match pattern"),
        ("    role_arn: arn:aws:iam::222222222222:role/smartcloudops\n", "", "needs a role_arn"),
        ("budget: 10%", "budget: 0%", "greater than 0"),
        ("budget: 10%", "opt_in_tag: 'aws:mine'", "only AWS itself sets"),
        ("budget: 10%", "color: red", "Extra inputs"),
        ("budget: 10%", "modes: {us-east-1: auto}", "which regions has not"),
        ("[eu-west-1]", "[eu-west-1, eu-west-1]", "regions has a region twice"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, written: str, wrong: str, message: str
) -> None:
    """No secret is in it, and no number is guessed."""
    with pytest.raises(InvalidAccountsError) as raised:
        _load(tmp_path, _GOOD.replace(written, wrong))
    assert message in "\n".join(f"{one.line}: {one.message}" for one in raised.value.findings)
    assert "between-us" not in str(raised.value)
