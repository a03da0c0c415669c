"""Several accounts and regions of the emulated AWS, and the STS that lets roles be assumed.

A WSGI application as `Emulator`, which answers for one region of one account. A request's
credential scope has its key and its region, as of every signed request:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.aws.calls import StartResponse, read_call, send_answer, send_error
from demo.aws.core import Core, moment
from demo.aws.emulator import Emulator
from demo.aws.faults import DroppedError
from demo.aws.hardness import CALM, Hardness, Timings
from demo.aws.world import AwsError, World

# Seconds: the least and, unless the role says more, the most that a session lasts.
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
_LEAST_S, _MOST_S = 900, 3600
_EXPIRED = "The security token included in the request is expired"
_UNKNOWN = "The security token included in the request is invalid"
_KEY, _REGION, _SERVICE, _SCOPE_PARTS = 0, 2, 3, 5


@dataclass
class Role:
    """A role that the keys of `trusts` (accounts) may assume, with the external id if it has one.

    Sessions from before `revoked_at` are denied every action; what is still allowed is to ask who
    one is. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
    """

    arn: str
    trusts: set[str]
    external_id: str | None = None
    revoked_at: float = 0.0

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a role was assumed as; it ends at `until`."""

    role: Role
    name: str
    token: str
    began: float
    until: float


@dataclass
class Organization:
    """`keys` are the accounts of long-term access keys; a region in `away` answers nobody."""

    clock: Callable[[], float]
    keys: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    hardness: Hardness = CALM
    regions: dict[tuple[str, str], Emulator] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict, init=False)
    assumed: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    _numbers: Any = field(default_factory=itertools.count, init=False)

    def add(self, account: str, region: str) -> Emulator:
        """A region of an account, empty."""
        core = Core(
            self.clock, Timings(), self.hardness, world=World(account=account, region=region)
        )
        self.regions[account, region] = Emulator(core)
        return self.regions[account, region]

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
        if len(scope) < _SCOPE_PARTS:
            return send_error("", AwsError("MissingAuthenticationToken", "", 403), start_response)
        key, region, service = scope[_KEY], scope[_REGION], scope[_SERVICE]
        if region in self.away:
            raise DroppedError
        try:
            account = self._account(key, environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""))
            if service == "sts":
                return self._sts(key, account, environ, start_response)
            self._admit(key)
            emulator = self._region(account, region)
        except AwsError as error:
            return send_error(service, error, start_response)
        return emulator(environ, start_response)

    def _region(self, account: str, region: str) -> Emulator:
        if (account, region) not in self.regions:
            raise AwsError("AuthFailure", "The region is not enabled", 401)
        return self.regions[account, region]

    def _account(self, key: str, token: str) -> str:
        """The account of the key. Raises AwsError for one that is unknown, or expired."""
        if key in self.keys:
            return self.keys[key]
        session = self.sessions.get(key)
        if session is None or session.token != token:
            raise AwsError("InvalidClientTokenId", _UNKNOWN, 403)
        if self.clock() >= session.until:
            raise AwsError("ExpiredToken", _EXPIRED, 403)
        return session.role.account

    def _admit(self, key: str) -> None:
        session = self.sessions.get(key)
        if session is not None and session.began < session.role.revoked_at:
            raise AwsError("AccessDenied", "with an explicit deny in an identity-based policy", 403)

    def _sts(
        self, key: str, account: str, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        call = read_call(environ, self.clock())
        try:
            if call.operation == "AssumeRole":
                self._admit(key)
                answer = self._assume(account, call.parameters, chained=key in self.sessions)
            else:
                answer = self._identity(key, account)
        except AwsError as error:
            return send_error("sts", error, start_response)
        return send_answer(call, answer, start_response)

    def _identity(self, key: str, account: str) -> dict[str, Any]:
        """Nobody needs a permission for it, and no policy denies it.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        """
        session = self.sessions.get(key)
        arn = f"arn:aws:iam::{account}:user/hub" if session is None else _arn(session)
        return {"UserId": "AIDA", "Account": account, "Arn": arn}

    def _assume(self, account: str, request: Mapping[str, Any], *, chained: bool) -> dict[str, Any]:
        """A role that does not exist is denied as one that does not trust the caller."""
        role = self.roles.get(request["RoleArn"])
        trusted = role is not None and account in role.trusts
        given = request.get("ExternalId")
        if role is None or not trusted or (role.external_id not in {None, given}):
            arn = request["RoleArn"]
            raise AwsError(
                "AccessDenied", f"not authorized to perform sts:AssumeRole on {arn}", 403
            )
        lasts_s = int(request.get("DurationSeconds", _MOST_S))
        if not _LEAST_S <= lasts_s <= _MOST_S:
            limit = "role chaining" if chained else "this role"
            raise AwsError("ValidationError", f"DurationSeconds exceeds the limit set for {limit}")
        number, now = next(self._numbers), self.clock()
        session = Session(
            role=role,
            name=request["RoleSessionName"],
            token=f"token-{number}",
            began=now,
            until=now + lasts_s,
        )
        key = f"ASIA{number:016d}"
        self.sessions[key] = session
        self.assumed.append(dict(request))
        return {
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": "secret",
                "SessionToken": session.token,
                "Expiration": moment(session.until),
            },
            "AssumedRoleUser": {"AssumedRoleId": f"AROA:{session.name}", "Arn": _arn(session)},
        }


def _arn(session: Session) -> str:
    role = session.role
    return f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{session.name}"
