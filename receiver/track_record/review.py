"""Compares, once CloudTrail shows them, what people did with what a run would have done."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from actions.assurance.cloudtrail import (
    DELIVERY_DELAY_S,
    EVENTS_KEPT_S,
    ApiCall,
    TrailError,
    look_up_calls_on,
)
from actions.aws.client_set import Aws
from actions.aws.trail import Span, TooManyEventsError
from actions.place import HOME, Place
from receiver.db.database import Database
from receiver.runs.model import Run
from receiver.runtime.periodic import Periodic
from receiver.track_record import comparisons
from receiver.track_record.comparison import Agreement, compare
from receiver.track_record.comparisons import Comparison
from receiver.webhook.episodes import Episode
from receiver.webhook.inbox import Inbox

_log = structlog.get_logger()
_EVERY_S = 300.0
# CloudTrail may be a little later than it promises.
_SLACK_S = 120.0
# People who have not acted on an alert by then are not going to.
_LONGEST_S = 86_400.0
_BATCH, _RIPE_MAX = 500, 100
# Runs of so many hours, and so many of them, are compared by one look.
_TOGETHER_S, _TOGETHER_MAX = 6 * 3_600.0, 20
# CloudTrail answers twice a second to all; decisions ask it, too, and must not wait for this task.
_SLOWER = 4.0


@dataclass(frozen=True, kw_only=True)
class _Ripe:
    """A run whose alert people have had the time to answer, until `until`; `over_at` is its end."""

    run: Run
    over_at: float | None
    until: float

    @property
    def names(self) -> frozenset[str]:
        return frozenset(filter(None, (self.run.target, self.run.group_name)))


@dataclass(kw_only=True)
class Review:
    """A leader's task: compares runs that did nothing with what people did, every five minutes.

    `programs` are patterns of the ARNs of roles and users that no person has.
    """

    database: Database
    inbox: Inbox
    aws_at: Callable[[Place], Aws]
    places: Sequence[Place] = (HOME,)
    programs: Sequence[str] = ()
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("review", _EVERY_S, self.run_once)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Compare what can be told by now; the next interval tries again what failed."""
        now = self.clock()
        by_place: defaultdict[Place, list[_Ripe]] = defaultdict(list)
        try:
            for ripe in self._ripe(now):
                by_place[_place(ripe.run)].append(ripe)
        except Exception as error:  # noqa: BLE001 the next interval tries again
            _log.error("review_failed", error=type(error).__name__)
            return
        for place in filter(by_place.__contains__, self.places):
            for together in _overlapping(by_place[place]):
                try:
                    self._compare(place, together, now)
                except Exception as error:  # noqa: BLE001 the next interval tries again
                    _log.error("comparison_failed", error=type(error).__name__)
                if self._periodic.stopping.is_set():
                    return

    def _ripe(self, now: float) -> Iterator[_Ripe]:
        after, taken = "", 0
        while taken < _RIPE_MAX:
            with self.database.read() as connection:
                runs = comparisons.without(
                    connection,
                    since=now - EVENTS_KEPT_S + _LONGEST_S,
                    until=now - DELIVERY_DELAY_S,
                    after=after,
                    limit=_BATCH,
                )
            if not runs:
                return
            after = runs[-1].id
            episodes = self.inbox.episodes_of([run.id for run in runs])
            for run in runs:
                ripe = _ripe(run, episodes, self.inbox.gap_s, now)
                if ripe is not None and taken < _RIPE_MAX:
                    taken += 1
                    yield ripe

    def _compare(self, place: Place, together: Sequence[_Ripe], now: float) -> None:
        """Compare these runs; of one whose calls cannot be read for good, nothing can be told."""
        try:
            calls = self._people_on(place, together)
        except (TooManyEventsError, TrailError):
            if len(together) > 1:
                for ripe in together:
                    self._compare(place, [ripe], now)
                return
            found = [_unknown(ripe, now) for ripe in together]
        else:
            found = [_comparison(ripe, calls, now) for ripe in together]
        with self.database.write() as connection:
            for comparison in found:
                comparisons.save(connection, comparison)

    def _people_on(self, place: Place, together: Sequence[_Ripe]) -> Sequence[ApiCall]:
        """People's calls on the targets and groups of these runs."""
        names = sorted(frozenset[str]().union(*(ripe.names for ripe in together)))
        since = min(ripe.run.starts_at for ripe in together)
        calls = look_up_calls_on(
            self.aws_at(place),
            names,
            Span(since, max(ripe.until for ripe in together)),
            lambda seconds: self._periodic.stopping.wait(_SLOWER * seconds),
            programs=self.programs,
        )
        return [call for call in calls if call.person and not call.refused]


def _place(run: Run) -> Place:
    return Place(run.account or "", run.region or "")


def _ripe(run: Run, episodes: Mapping[str, Episode], gap_s: float, now: float) -> _Ripe | None:
    """None while its fault goes on for less than a day, or CloudTrail may still be silent of it.

    A run without an episode is older than a newer one of its alert, which was over in between.
    """
    over_at = _over_at(run, episodes.get(run.id), gap_s, now)
    until = min(over_at or now, run.starts_at + _LONGEST_S)
    if over_at is None and until == now:
        return None
    if now < until + DELIVERY_DELAY_S + _SLACK_S:
        return None
    return _Ripe(run=run, over_at=over_at, until=until)


def _over_at(run: Run, episode: Episode | None, gap_s: float, now: float) -> float | None:
    if episode is None:
        return run.ended_at
    if episode.resolved_at is not None:
        return episode.resolved_at
    silent = now - episode.last_seen_at > gap_s
    return episode.last_seen_at if silent else None


def _overlapping(ripe: Sequence[_Ripe]) -> Iterator[Sequence[_Ripe]]:
    """Those whose times overlap, a few together: one look serves them."""
    together: list[_Ripe] = []
    until = 0.0
    for each in sorted(ripe, key=lambda one: one.run.starts_at):
        first = together[0].run.starts_at if together else 0.0
        apart = each.run.starts_at > until or each.until - first > _TOGETHER_S
        if together and (apart or len(together) == _TOGETHER_MAX):
            yield together
            together, until = [], 0.0
        together.append(each)
        until = max(until, each.until)
    if together:
        yield together


def _unknown(ripe: _Ripe, now: float) -> Comparison:
    return Comparison(
        run_id=ripe.run.id,
        agreement=Agreement.OPEN,
        action=None,
        calls=(),
        over_at=ripe.over_at,
        at=now,
    )


def _comparison(ripe: _Ripe, calls: Sequence[ApiCall], now: float) -> Comparison:
    run = ripe.run
    during = [
        call for call in calls if call.names & ripe.names and run.starts_at <= call.at <= ripe.until
    ]
    compared = compare(
        run.plan.action if run.plan else None,
        run.plan.basis if run.plan else {},
        during,
        over=ripe.over_at is not None,
    )
    return Comparison(
        run_id=run.id,
        agreement=compared.agreement,
        action=compared.action,
        calls=[
            {"at": call.at, "operation": call.operation, "who": call.who or ""} for call in during
        ],
        over_at=ripe.over_at,
        at=now,
    )
