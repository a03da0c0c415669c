"""Where a target is: an AWS account and one of its regions. Names are unique in one place only."""

import re
from dataclasses import dataclass

ACCOUNT = re.compile(r"[0-9]{12}")
REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d")


@dataclass(frozen=True, order=True)
class Place:
    """An account's number and a region; both are empty where the service serves no other."""

    account: str = ""
    region: str = ""

    def is_within(self, wanted: "Place") -> bool:
        """Whether it is of this account and region; an empty one of them is any."""
        return wanted.account in {"", self.account} and wanted.region in {"", self.region}

    def __str__(self) -> str:
        return f"{self.account}/{self.region}" if self.account else "the service's own account"


# The account and region of the service's own credentials, without a file of accounts.
HOME = Place()
