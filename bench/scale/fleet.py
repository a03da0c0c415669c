"""The fleet of a bench: the same accounts, groups and instances in each of its processes."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from actions.place import Place

_REGIONS = ("us-east-1", "eu-west-1", "ap-south-1", "sa-east-1")
_GROUP_SIZE = 20
_FIRST_ACCOUNT, _FIRST_ID = 100_000_000_001, 0xA0000
ROLE = "smartcloudops"
EXTERNAL_ID = "bench-only"


@dataclass(frozen=True, kw_only=True)
class BenchGroup:
    """A group with its members' ids; groups of several places have the same name."""

    place: Place
    name: str
    ids: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class FleetSpec:
    """How many `instances` there are, in how many `accounts`, each with as many `regions`."""

    instances: int
    accounts: int
    regions: int

    @property
    def arguments(self) -> list[str]:
        """The command-line arguments that `parse` reads."""
        return [f"--{name}={value}" for name, value in vars(self).items() if name != "groups"]

    @classmethod
    def parse(cls) -> "FleetSpec":
        parser = argparse.ArgumentParser()
        for name in ("instances", "accounts", "regions"):
            parser.add_argument(f"--{name}", type=int, required=True)
        return cls(**vars(parser.parse_args()))

    @property
    def account_ids(self) -> Sequence[str]:
        """The first is the service's own."""
        return [str(_FIRST_ACCOUNT + number) for number in range(self.accounts)]

    @property
    def places(self) -> Sequence[Place]:
        return [
            Place(account, region)
            for region in _REGIONS[: self.regions]
            for account in self.account_ids
        ]

    @cached_property
    def groups(self) -> Sequence[BenchGroup]:
        """Dealt to the places in turn."""
        places = self.places
        return [
            BenchGroup(
                place=places[number % len(places)],
                name=f"web-{number // len(places)}",
                ids=[
                    f"i-{_FIRST_ID + number * _GROUP_SIZE + member:017x}"
                    for member in range(_GROUP_SIZE)
                ],
            )
            for number in range(self.instances // _GROUP_SIZE)
        ]

    def accounts_file(self) -> str:
        """The receiver's file of accounts."""
        return "\n".join(["accounts:", *self._accounts_lines()]) + "\n"

    def _accounts_lines(self) -> Iterator[str]:
        regions = ", ".join(_REGIONS[: self.regions])
        for number, account in enumerate(self.account_ids):
            yield f'  - id: "{account}"'
            yield f"    name: account-{number}"
            yield f"    regions: [{regions}]"
            if number:
                yield f"    role_arn: {role_arn(account)}"
                yield f"    external_id: {EXTERNAL_ID}"


def role_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:role/{ROLE}"


FLEETS = {
    100: FleetSpec(instances=100, accounts=2, regions=1),
    1_000: FleetSpec(instances=1_000, accounts=5, regions=4),
    10_000: FleetSpec(instances=10_000, accounts=20, regions=4),
}
