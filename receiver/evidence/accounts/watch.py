"""Looks at each account and region every few seconds: who does not answer is named at once."""

from collections.abc import Mapping
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry, Gauge

from actions.aws import errors
from actions.place import Place
from receiver.evidence.accounts.readers import AwsReaders
from receiver.runtime.periodic import Periodic

_log = structlog.get_logger()
_EVERY_S, _ANSWERS_WITHIN_S = 10.0, 8.0


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

    A look gets the credentials of a place, and proves them, before anything needs them.
    """

    readers: AwsReaders
    pool: Executor
    metrics: AccountMetrics
    problems: Mapping[Place, str] = field(default_factory=dict, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("accounts", _EVERY_S, self.run_once, at_once=True)

    def start(self) -> None:
        if self.readers.accounts.accounts:
            self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Ask each place at the same time."""
        asked = {place: self.pool.submit(self._ask, place) for place in self.readers.places}
        wait(asked.values(), _ANSWERS_WITHIN_S)
        late = f"no answer within {_ANSWERS_WITHIN_S:.0f} s"
        answers = {
            place: answer.result() if answer.done() else late for place, answer in asked.items()
        }
        problems = {place: answer for place, answer in answers.items() if answer}
        for place, answer in answers.items():
            account = self.readers.accounts.by_place[place]
            self.metrics.usable.labels(account.name, place.region).set(int(not answer))
            if answer and self.problems.get(place) != answer:
                _log.warning("account_unusable", place=str(place), error=answer)
        self.problems = problems

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
