"""Two accounts with two regions each, whose groups, addresses and names are all alike."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from actions.aws.client_set import Aws
from actions.aws.tags import OPT_IN_TAG
from actions.place import HOME, Place
from demo.aws.clients import clients
from demo.aws.emulator import Emulator
from demo.aws.organization import Organization
from demo.aws.world import Group, Instance, zones_of
from tests.end_to_end.whole_fixtures import PLAYBOOK, Whole

HUB, SPOKE = "111111111111", "222222222222"
REGIONS = ("us-east-1", "eu-west-1")
PLACES = [Place(account, region) for account in (HUB, SPOKE) for region in REGIONS]
ACCOUNTS = f"""
accounts:
  - {{id: "{HUB}", name: hub, regions: [us-east-1, eu-west-1]}}
  - id: "{SPOKE}"
    name: spoke
    role_arn: arn:aws:iam::{SPOKE}:role/smartcloudops
    external_id: between-us
    regions: [us-east-1, eu-west-1]
"""
# Only the first place has it.
RARE = "api-asg"
SIZE = 4
_GROWS = """
name: busy
match: ['alertname="Busy"']
mode: auto
steps: [{action: set_desired_capacity, params: {desired: "+1"}}]
verify: {expr: recovered, for: 10s, timeout: 60s}
recheck: [vector(1)]
"""


class Places(Whole):
    """A receiver of the four places, each of which is an emulated AWS of its own."""

    def __init__(
        self,
        folder: Path,
        accounts: str = ACCOUNTS,
        opt_in_tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        (folder / "playbooks").mkdir()
        (folder / "playbooks" / "two.yaml").write_text(_GROWS)
        (folder / "accounts.yaml").write_text(accounts)
        self.organization = Organization(self.clock)
        self.regions = {
            place: self.organization.add(place.account, place.region) for place in PLACES
        }

        def at(place: Place) -> Aws:
            class OfAccount(Aws):
                opt_in_tag = opt_in_tags.get(place.account, OPT_IN_TAG)

            return OfAccount(**vars(clients(self.regions[place])))

        super().__init__(
            folder,
            playbook=PLAYBOOK,
            accounts=folder / "accounts.yaml",
            aws_at=lambda place: self.clients() if place == HOME else at(place),
        )
        self.populate()

    def populate(self) -> None:
        """The same world in each place, but for the ids that EC2 gives."""
        for number, place in enumerate(PLACES):
            aws = self.regions[place]
            aws.start_over()
            aws.calls.clear()
            aws.trouble = lambda *_: None
            names = ("web-asg", RARE) if number == 0 else ("web-asg",)
            for offset, name in enumerate(names):
                group = Group(name, 2, 12, SIZE, zones=zones_of(place.region))
                ids = [_id(number, offset, member) for member in range(SIZE)]
                aws.world.add_group(group, ids, self.now - 86_400)
            for member in range(SIZE):
                instance = aws.world.instances[member_id(place, member)]
                instance.address = address(member)
                instance.tags["Name"] = f"web-{member}"
            alone = Instance(_id(number, 9, 0), zones_of(place.region)[0], tags={})
            aws.world.instances[alone.id] = alone

    def acts(self) -> set[tuple[Place, str]]:
        """Where something was changed, and on what."""
        assert self.aws.calls == []
        return {(place, call.target) for place in PLACES for call in self.regions[place].calls}

    def at(self, place: Place) -> Emulator:
        return self.regions[place]


def member_id(place: Place, member: int) -> str:
    """A member of the place's `web-asg`."""
    return _id(PLACES.index(place), 0, member)


def address(member: int) -> str:
    return f"10.9.0.{member + 1}"


def labels_of(place: Place, **more: str) -> dict[str, str]:
    return {"alertname": "HighCPU", **vars(place), **more}


def _id(place: int, group: int, member: int) -> str:
    return f"i-{0xA000 + 0x1000 * place + 0x100 * group + member:017x}"
