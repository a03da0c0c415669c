"""The readers of AWS of all places: what one place does not answer is unknown there alone."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from actions.aws.client_set import Aws
from actions.aws.groups import Group
from actions.execution.records import STANDALONE_PERCENT, Bounds, Scope
from actions.place import Place
from receiver.evidence.accounts.file import Accounts
from receiver.evidence.aws.state import AwsReader
from receiver.evidence.source import Source
from receiver.runtime.pools import PoolShare

# Threads of the pool that wait for one account at once, where there are several: a decision there
# reads about ten facts, and an account that hangs must leave threads to the others.
_THREADS_OF_ACCOUNT = 8


@dataclass(frozen=True, kw_only=True)
class AwsReaders:
    """A reader for each place, made when it is first needed; `aws_at` gives its clients.

    Without `accounts` there is one place. The other fields are as in `AwsReader`.
    """

    aws_at: Callable[[Place], Aws]
    accounts: Accounts = field(default_factory=Accounts)
    pool: Executor
    trail: bool
    standalone_percent: float = STANDALONE_PERCENT
    on_unreadable: Callable[[Source], None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    _readers: dict[Place, AwsReader] = field(default_factory=dict, init=False)
    _shares: dict[str, Executor] = field(default_factory=dict, init=False)
    _lock: Any = field(default_factory=Lock, init=False)

    @property
    def places(self) -> Sequence[Place]:
        return self.accounts.places

    def at(self, place: Place) -> AwsReader:
        """Raises botocore's error for a place that the file of accounts has not."""
        with self._lock:
            if place not in self._readers:
                self._readers[place] = self._make(place)
            return self._readers[place]

    def _make(self, place: Place) -> AwsReader:
        return AwsReader(
            aws=self.aws_at(place),
            pool=self._share_of(place.account),
            trail=self.trail,
            standalone_percent=self.percent_at(place),
            on_unreadable=self.on_unreadable,
            monotonic=self.monotonic,
        )

    def _share_of(self, account: str) -> Executor:
        """The threads for the account's reads: all of the pool where there is no other."""
        if len(self.accounts.accounts) <= 1:
            return self.pool
        return self._shares.setdefault(account, PoolShare(self.pool, _THREADS_OF_ACCOUNT))

    def percent_at(self, place: Place) -> float:
        """The percentage of the instances outside groups that may be out of service at once."""
        account = self.accounts.by_place.get(place)
        own = account.budget if account else None
        return self.standalone_percent if own is None else own

    def recent_group(self, place: Place, name: str) -> Group | None:
        """As `AwsReader.recent_group`."""
        return self.at(place).recent_group(name)

    def target_groups(self, place: Place, name: str) -> Sequence[str] | None:
        """The ARNs of the group's target groups, as the last decision saw them, or None."""
        return self.at(place).target_groups.get(name)

    def recent_scopes(
        self, place: Place, target: str, group: str, bounds: Bounds
    ) -> Sequence[Scope] | None:
        """As `AwsReader.recent_scopes`."""
        return self.at(place).recent_scopes(target, group, bounds)
