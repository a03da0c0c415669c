"""Why a call did not happen, by category, and what a person does about it."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    PASSING = "passing"  # AWS is busy or away; the same call may succeed later
    ACCESS = "access"  # the role may not make the call, or its credentials are invalid
    CLOCK = "clock"  # this host's clock differs from AWS's
    QUOTA = "quota"  # the account's quota, or AWS's capacity, is used up
    REQUEST = "request"  # AWS does not accept the parameters
    STATE = "state"  # the target's state does not allow the call


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed call. `refused`: it certainly changed nothing.

    `retried`: what an earlier attempt of the SDK did is unknown.
    """

    name: str
    refused: bool
    cause: Cause
    retried: bool = False


REMEDIES = {
    Cause.PASSING: "find out why AWS does not answer, then act by hand",
    Cause.ACCESS: "grant the role what `smartcloudops iam-policy` prints, or renew its credentials",
    Cause.CLOCK: "set the clock of this service's host",
    Cause.QUOTA: "raise the quota or free capacity, then act by hand",
    Cause.REQUEST: "correct the step's parameters or what they name",
    Cause.STATE: "bring the target into a state that allows the step, or act by hand",
}
