"""Looks at each account and region every few seconds: who does not answer is named at once."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry, Gauge

from actions.aws import errors
from actions.place import Place
from receiver.evidence.accounts.readers import AwsReaders
from receiver.runtime.periodic import Periodic

_log = structlog.get_logger()
_EVERY_S = 10.0
# Of places that answer, so many are asked in each look, or all accounts if these are more.
_ASKED = 20


class AccountMetrics:
    """Whether each account answers in each region."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.usable = Gauge(
            "smartcloudops_account_usable",
            "1 while AWS answers in the account and region, else 0",
            ("account", "region"),
            registry=registry,
        )


@dataclass(kw_only=True)
class AccountWatch:
    """A thread that asks each place of the file of accounts; `problems` are its last errors.

    Each look asks each account, in another region than the look before, and each region, in other
    accounts. Where one does not answer, the rest of its account and of its region is asked at once.

    `pool` has a thread for each place, as those of a region may all hang. A look gets the
    credentials of a place, and proves them, before anything needs them.
    """

    readers: AwsReaders
    pool: Executor
    metrics: AccountMetrics
    answers_within_s: float = 8.0
    problems: Mapping[Place, str] = field(default_factory=dict, init=False)
    _answered_at: dict[Place, float] = field(default_factory=dict, init=False)
    _asked: dict[Place, Future[str]] = field(default_factory=dict, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("accounts", _EVERY_S, self.run_once, at_once=True)

    def start(self) -> None:
        if self.readers.accounts.accounts:
            self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Ask, at the same time, each place that did not answer last, and others in turn."""
        before = frozenset(self.problems)
        due = self._due()
        self._ask_all(due)
        new = self.problems.keys() - before
        accounts, regions = {each.account for each in new}, {each.region for each in new}
        self._ask_all(
            [
                place
                for place in self.readers.places
                if place not in due and (place.account in accounts or place.region in regions)
            ]
        )

    def _ask_all(self, places: Sequence[Place]) -> None:
        now = self.readers.monotonic()
        # A question that hangs is not asked again.
        hanging = {place: asked for place, asked in self._asked.items() if not asked.done()}
        due = [place for place in places if place not in hanging]
        asked = {place: self.pool.submit(self._ask, place) for place in due}
        self._asked = hanging | asked
        wait(asked.values(), self.answers_within_s)
        late = f"no answer within {self.answers_within_s:.0f} s"
        answers = {
            place: answer.result() if answer.done() else late for place, answer in asked.items()
        }
        for place, answer in answers.items():
            account = self.readers.accounts.by_place[place]
            self.metrics.usable.labels(account.name, place.region).set(int(not answer))
            if answer and self.problems.get(place) != answer:
                _log.warning("account_unusable", place=str(place), error=answer)
            if not answer:
                self._answered_at[place] = now
        kept = {place: error for place, error in self.problems.items() if place not in answers}
        self.problems = kept | {place: answer for place, answer in answers.items() if answer}

    def _due(self) -> Sequence[Place]:
        """The places to ask, those without an answer to their last question first."""
        places = self.readers.places
        silent = [place for place in places if place in self.problems or self._is_silent(place)]
        accounts = list(dict.fromkeys(place.account for place in places))
        regions = list(dict.fromkeys(place.region for place in places))

        def turn(place: Place) -> tuple[float, int]:
            shifted = regions.index(place.region) - accounts.index(place.account)
            return self._answered_at.get(place, -math.inf), shifted % len(regions)

        others = sorted((place for place in places if place not in silent), key=turn)
        first = {place.account: place for place in reversed(others)}.values()
        rest = [place for place in others if place not in first]
        return *silent, *first, *rest[: max(0, _ASKED - len(first))]

    def _is_silent(self, place: Place) -> bool:
        """Whether a decision's read failed there since."""
        try:
            return self.readers.at(place).silence.since is not None
        except errors.AWS_ERRORS:
            return True

    def _ask(self, place: Place) -> str:
        """The error of the place, or nothing."""
        try:
            return self.readers.at(place).ping()
        except errors.AWS_ERRORS as error:
            return errors.classify(error).name

    def describe(self) -> str:
        """The places that do not answer, by name and without numbers; empty if all do."""
        accounts = self.readers.accounts
        return "; ".join(
            f"{accounts.name_of(place)}: {error}" for place, error in sorted(self.problems.items())
        )
