"""Incidents that are kept with all that a decision on them needs: one's own test suite.

A folder has `incidents.json` and `answers.sqlite`, Prometheus' answers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backtest.decisions import Decided, Result
from backtest.incidents import Incident, Period
from backtest.past_fleet import Known
from backtest.past_prometheus import Answers

_FILE, _ANSWERS, _PERIOD = "incidents.json", "answers.sqlite", "period.json"


class SavedError(Exception):
    """The folder has no kept incidents; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Kept incidents, the decisions on them, and what AWS told of them."""

    period: Period
    incidents: Sequence[Incident]
    decisions: Sequence[Decided]
    changes: Sequence[Mapping[str, Any]]
    known: Known
    trail: bool


def answers_in(folder: Path) -> Answers:
    """The answers of a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return Answers(folder / _ANSWERS)


def begin(folder: Path, period: Period) -> Period:
    """The period of the folder's backtest, which goes on where it was cut off; else this one."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _PERIOD
    if file.exists():
        return Period(**json.loads(file.read_text()))
    file.write_text(json.dumps(asdict(period)))
    return period


def save(
    folder: Path,
    result: Result,
    changes: Sequence[Mapping[str, Any]],
    known: Known,
) -> None:
    """Keep the result; the next backtest in the folder starts from the beginning."""
    told = {
        "period": {"since": result.since, "until": result.until},
        "trail": result.trail,
        "incidents": [asdict(one) for one in result.incidents],
        "decisions": [one.as_json() for one in result.decisions],
        "changes": list(changes),
        "known": asdict(known),
    }
    (folder / _FILE).write_text(json.dumps(told, indent=1, default=str) + "\n")
    (folder / _PERIOD).unlink(missing_ok=True)


def load(folder: Path) -> Saved:
    """Raises SavedError."""
    try:
        told = json.loads((folder / _FILE).read_text())
        return Saved(
            period=Period(**told["period"]),
            incidents=[Incident(**one) for one in told["incidents"]],
            decisions=[Decided.from_json(one) for one in told["decisions"]],
            changes=told["changes"],
            known=Known(**told["known"]),
            trail=told["trail"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SavedError(f"{folder}: no incidents of `backtest --save`: {error}") from None
