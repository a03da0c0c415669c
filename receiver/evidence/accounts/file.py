"""The accounts and regions in which the service may act: `accounts.yaml`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from actions.aws.account_access import AccountAccess
from actions.aws.tags import OPT_IN_TAG
from actions.place import ACCOUNT, HOME, REGION, Place
from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.yaml_source import YamlError, read
from receiver.settings import Mode

Number = Annotated[str, StringConstraints(pattern=rf"^{ACCOUNT.pattern}$")]
Region = Annotated[str, StringConstraints(pattern=rf"^{REGION.pattern}$")]
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
_ROLE = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+$"
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-tagging.html
_TAG = r"^[A-Za-z0-9 _.:/=+@-]{1,127}$"
_EXTERNAL_ID = r"^[A-Za-z0-9_+=,.@:/-]+$"


class InvalidAccountsError(InvalidFilesError):
    """The file cannot be used."""


def _percent(value: object) -> object:
    return value.removesuffix("%") if isinstance(value, str) else value


class Account(BaseModel):
    """An account. Without a `role_arn` it is the service's own.

    `name` stands for it where no token is needed. `mode` limits all runs there, `modes` those of a
    region. `opt_in_tag` has the value "true" on what may be changed there. `budget` is as
    SMARTCLOUDOPS_STANDALONE_BUDGET.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: Number
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    role_arn: Annotated[str, StringConstraints(pattern=_ROLE, max_length=2048)] | None = None
    external_id: (
        Annotated[str, StringConstraints(pattern=_EXTERNAL_ID, min_length=2, max_length=1224)]
        | None
    ) = None
    regions: Annotated[Sequence[Region], Field(min_length=1)]
    mode: Mode = Mode.AUTO
    modes: Mapping[Region, Mode] = {}
    opt_in_tag: Annotated[str, StringConstraints(pattern=_TAG)] = OPT_IN_TAG
    budget: Annotated[float, BeforeValidator(_percent), Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.role_arn is not None and self.role_arn.split(":")[4] != self.id:
            raise ValueError("role_arn is of another account than id")
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("external_id needs a role_arn")
        if self.opt_in_tag.startswith("aws:"):
            raise ValueError("opt_in_tag: only AWS itself sets tags that begin with aws:")
        if unknown := set(self.modes) - set(self.regions):
            raise ValueError(f"modes has {min(unknown)}, which regions has not")
        if len(set(self.regions)) < len(self.regions):
            raise ValueError("regions has a region twice")
        return self


class Accounts(BaseModel):
    """All accounts. Without a file there is one place, whose account has no name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts: Annotated[Sequence[Account], Field(min_length=1)] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what in ("id", "name"):
            values = [getattr(account, what) for account in self.accounts]
            if len(set(values)) < len(values):
                raise ValueError(f"two accounts have the same {what}")
        if sum(account.role_arn is None for account in self.accounts) > 1:
            raise ValueError("only one account, the service's own, may have no role_arn")
        return self

    @cached_property
    def by_place(self) -> Mapping[Place, Account]:
        return {
            Place(account.id, region): account
            for account in self.accounts
            for region in account.regions
        }

    @property
    def places(self) -> Sequence[Place]:
        return list(self.by_place) or [HOME]

    @property
    def accesses(self) -> Sequence[AccountAccess]:
        return [
            AccountAccess(
                account=account.id,
                role_arn=account.role_arn,
                external_id=account.external_id,
                opt_in_tag=account.opt_in_tag,
            )
            for account in self.accounts
        ]

    def own_place(self, region: str) -> Place | None:
        """The place of the service's own credentials in its region, if the file has it."""
        own = (place for place, account in self.by_place.items() if account.role_arn is None)
        return next((place for place in own if place.region == region), None)

    def mode_at(self, place: Place) -> Mode:
        """The highest mode of a run there; `observe` in a place that the file has not."""
        if not self.accounts and place == HOME:
            return Mode.AUTO
        account = self.by_place.get(place)
        if account is None:
            return Mode.OBSERVE
        return min(account.mode, account.modes.get(place.region, Mode.AUTO), key=list(Mode).index)

    def opt_in_tag(self, account: str | None) -> str:
        """The tag of the account with this id, or of the service's own."""
        tags = {each.id if each.role_arn else None: each.opt_in_tag for each in self.accounts}
        return tags.get(account, tags.get(None, OPT_IN_TAG))

    @property
    def has_own_tags(self) -> bool:
        return any(account.opt_in_tag != OPT_IN_TAG for account in self.accounts)

    @property
    def names(self) -> Mapping[Place, tuple[str, str]]:
        """The account's name and the region of each place."""
        return {place: (each.name, place.region) for place, each in self.by_place.items()}

    def name_of(self, place: Place) -> str:
        """The name of the place where no token is needed: without the account's number."""
        account = self.by_place.get(place)
        return f"{account.name}/{place.region}" if account else "aws"


def load(file: Path | None) -> Accounts:
    """The accounts of a file, or none. Raises InvalidAccountsError with every fault."""
    if file is None:
        return Accounts()
    try:
        value, lines = read(file)
    except YamlError as error:
        raise InvalidAccountsError(
            [Finding(file=file, line=error.line, message=error.message)]
        ) from None
    try:
        return Accounts.model_validate(value)
    except ValidationError as error:
        raise InvalidAccountsError(list(findings(file, lines, (), error))) from None
