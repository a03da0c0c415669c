"""A backtest's result as figures, as a table for a terminal, as JSON and as one HTML page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backtest.decisions import ACT, REFUSE, Decided, Result
from backtest.incidents import Incident
from receiver.html.bar_plot import bar_plot
from receiver.html.templates import html_environment
from receiver.runtime.rfc3339 import rfc3339

_TEMPLATES = Path(__file__).parent / "templates"
_MINUTES, _HOUR = (1, 2, 5, 10, 30, 60, 360, 1440), 60
_SHOWN = 3
_SOON_S = 1_200.0
ASSUMPTION = (
    "AWS does each step at once, and no step changes the metrics: a step whose fault ended in the "
    "step's time has helped, else the next step was decided."
)


def as_json(result: Result) -> dict[str, Any]:
    """`alerts`, `decisions`, the incidents, and what the backtest cost."""
    return {
        "since": rfc3339(result.since),
        "until": rfc3339(result.until),
        "alerts": len(result.incidents),
        "acts": sum(one.decision == ACT for one in result.decisions),
        "harm": sum(bool(one.harm) for one in result.decisions),
        "assumption": ASSUMPTION,
        "cloudtrail": result.trail,
        "prometheus": dict(result.cost),
        "incidents": [_row(result, one) for one in result.incidents],
        "decisions": [one.as_json() for one in result.decisions],
    }


def as_text(result: Result) -> Iterator[str]:
    """A line an incident, then the sums."""
    for row in _rows(result):
        yield f"{row['at']}  {row['alertname']:<24.24} {row['target']:<20.20} {row['told']}"
    yield ""
    yield from _sums(result)


def as_html(result: Result) -> str:
    """One page with its plots inside; every value is escaped."""
    days = Counter(_day(one.starts_at) for one in result.incidents)
    first = [told for one in result.incidents if (told := _decisions(result, one)[:1])]
    outcomes = Counter(told[0].summary for told in first)
    lasted = [one.ended_at - one.starts_at for one in result.incidents if one.ended_at]
    values = {
        "Alerts by day": dict(sorted(days.items())),
        "Alerts by how long they fired": _histogram(lasted),
    }
    plots = [(title, bar_plot(each, title)) for title, each in values.items()]
    templates = html_environment(_TEMPLATES, {})
    return templates.get_template("backtest.html.j2").render(
        since=rfc3339(result.since),
        until=rfc3339(result.until),
        assumption=ASSUMPTION,
        sums=[*_sums(result)],
        outcomes=outcomes.most_common(),
        plots=plots if result.incidents else [],
        rows=[*_rows(result)],
    )


def _rows(result: Result) -> Iterator[Mapping[str, Any]]:
    return (_row(result, one) for one in result.incidents)


def _row(result: Result, incident: Incident) -> dict[str, Any]:
    own = _decisions(result, incident)
    told = [f"{one.summary} after {one.at - incident.starts_at:.0f} s" for one in own]
    more = len(told) - _SHOWN
    targets = [one.target for one in own if one.target]
    return {
        "incident": incident.id,
        "at": rfc3339(incident.starts_at),
        "alertname": incident.name,
        "target": targets[-1] if targets else incident.labels.get("asg", ""),
        "lasted_s": incident.ended_at - incident.starts_at if incident.ended_at else None,
        "lasted": _minutes(incident),
        "told": "; ".join([*told[:_SHOWN], *([f"{more} more"] if more > 0 else [])]),
        "why": [gate.detail for one in own[:1] for gate in one.gates[-1:]],
        "deployed_s_before": result.deploys.get(incident.id),
        "people": list(result.people.get(incident.id, ())),
        "harm": [harm for one in own for harm in one.harm],
        "assumed": list(dict.fromkeys(fact for one in own for fact in one.assumed)),
    }


def _decisions(result: Result, incident: Incident) -> Sequence[Decided]:
    """The decisions on an incident, without repeats of the same refusal."""
    own = [one for one in result.decisions if one.incident == incident.id]
    return [
        one
        for before, one in zip([None, *own], own, strict=False)
        if before is None or one.decision != REFUSE or before.summary != one.summary
    ]


def _sums(result: Result) -> Iterator[str]:
    acts = [one for one in result.decisions if one.decision == ACT]
    acted = {one.incident for one in acts}
    harm = sum(bool(one.harm) for one in acts)
    on, steps = len(acted), len(acts)
    yield f"{len(result.incidents)} alerts: it would have acted on {on}, in {steps} steps"
    kinds = Counter(one.action for one in acts)
    if kinds:
        yield "steps: " + ", ".join(f"{name} {number}" for name, number in kinds.most_common())
    refusals = _refusals(result)
    if refusals:
        yield "refused: " + ", ".join(f"{why} {number}" for why, number in refusals.most_common())
    yield f"steps with harm that no guard saw: {harm}"
    if result.trail:
        helped = [one for one in result.incidents if result.people.get(one.id)]
        both = sum(one.id in acted for one in helped)
        yield f"people acted on {len(helped)} alerts, on {both} of which it would have acted, too"
    else:
        yield "what people did is not known: CloudTrail was not read"
    if result.deploys:
        soon = sum(since_s <= _SOON_S for since_s in result.deploys.values())
        total = len(result.incidents)
        yield f"{soon} of {total} alerts within {_SOON_S / 60:.0f} minutes of a deploy"
    asked, seconds = result.cost.get("queries", 0), result.cost.get("seconds", 0.0)
    yield f"Prometheus answered {asked:.0f} queries in {seconds:.0f} s"


def _refusals(result: Result) -> Counter[str]:
    """Incidents by the reason of their first refusal, of those without a step."""
    acted = {one.incident for one in result.decisions if one.decision == ACT}
    first: dict[str, str] = {}
    for one in result.decisions:
        if one.decision == REFUSE and one.incident not in acted:
            first.setdefault(one.incident, one.reason)
    return Counter(first.values())


def _histogram(seconds: Sequence[float]) -> Mapping[str, int]:
    counts, low = {}, 0
    for edge in _MINUTES:
        unit, size = ("h", 60) if low >= _HOUR else ("min", 1)
        name = f"{low // size}-{edge // size} {unit}"
        counts[name] = sum(low * 60 < time <= edge * 60 for time in seconds)
        low = edge
    return counts | {f"over {low // _HOUR} h": sum(time > low * 60 for time in seconds)}


def _minutes(incident: Incident) -> str:
    if incident.ended_at is None:
        return "goes on"
    return f"{(incident.ended_at - incident.starts_at) / 60:.0f} min"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
