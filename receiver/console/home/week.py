"""What the service did in the last seven days, a small plot for each kind of end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from markupsafe import Markup

from receiver.html.bar_plot import small_bars
from receiver.runs.model import State
from receiver.runs.queries.stats import Period
from receiver.runs.queries.unremedied import LEFT_ALONE

_Test = Callable[[str, str | None], bool]


@dataclass(frozen=True, kw_only=True)
class Multiple:
    """A plot of one kind of end; `query` lists its runs."""

    title: str
    tone: str
    total: int
    svg: Markup
    query: str


def _in(*states: State) -> _Test:
    return lambda state, _: state in states


def _is_left_alone(state: str, refusal: str | None) -> bool:
    return state == State.REFUSED and refusal in LEFT_ALONE


def _is_refused(state: str, refusal: str | None) -> bool:
    return state == State.REFUSED and refusal not in LEFT_ALONE


_KINDS: Sequence[tuple[str, str, _Test, Mapping[str, str]]] = (
    ("recovered", "good", _in(State.SUCCEEDED), {"state": "succeeded"}),
    (
        "failed or rolled back",
        "bad",
        _in(State.FAILED, State.ROLLED_BACK, State.EXPIRED),
        {"state": "failed"},
    ),
    ("refused", "wait", _is_refused, {"state": "refused"}),
    ("left alone, rightly", "quiet", _is_left_alone, {"refusal": "verdict_refuted"}),
    ("resolved on its own", "busy", _in(State.RESOLVED), {"state": "resolved"}),
    ("only observed", "quiet", _in(State.OBSERVED), {"state": "observed"}),
)


def multiples(days: Sequence[Period], **filters: str) -> list[Multiple]:
    """All plots on one scale of days; each has its own scale of counts.

    `filters` narrow the lists of runs to which the plots lead.
    """
    names = [f"{datetime.fromtimestamp(day.start, UTC):%a %d}" for day in days]
    drawn = []
    for title, tone, fits, query in _KINDS:
        counts = [sum(n for key, n in day.counts.items() if fits(*key)) for day in days]
        svg = small_bars(dict(zip(names, counts, strict=True)), title, tone)
        total = sum(counts)
        listed = urlencode({**query, "since": "7d", **filters})
        drawn.append(Multiple(title=title, tone=tone, total=total, svg=svg, query=listed))
    return drawn


def help_rate(days: Sequence[Period]) -> float | None:
    """The share of runs that recovered, of those that acted; None where none did."""
    totals: dict[str, int] = {}
    for day in days:
        for (state, _), count in day.counts.items():
            totals[state] = totals.get(state, 0) + count
    helped = totals.get(State.SUCCEEDED, 0)
    acted = helped + totals.get(State.FAILED, 0) + totals.get(State.ROLLED_BACK, 0)
    return helped / acted if acted else None
