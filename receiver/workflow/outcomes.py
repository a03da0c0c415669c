"""What a decision leaves in the record of a run on which nothing (more) is done."""

from collections.abc import Mapping
from typing import Any

from actions.reasons import Reason
from models.features.evidence import Evidence
from models.features.signals import ROLES_OF_ALERT
from models.inference.verdict import Verdict
from receiver.decision.model import Observe, Refusal
from receiver.decision.stored_plan import to_stored
from receiver.evidence.plot_data import sketches
from receiver.runs.model import Run, State

_SHOWN_S = 900.0


def given_up(decision: Observe | Refusal) -> str:
    observing = isinstance(decision, Observe)
    why = "only observing is allowed now" if observing else decision.gates[-1].detail
    return f"the target did not recover, and {why}; a person is needed"


def ending_of(run: Run, decision: Observe | Refusal) -> tuple[State, dict[str, Any]]:
    """How a run ends on which nothing was done."""
    if isinstance(decision, Observe):
        plan = to_stored(decision.plan, run.id, run.labels)
        dry = run.asked is not None and run.asked["dry_run"]
        why = "it is a dry run" if dry else "only observes"
        return State.OBSERVED, {"plan": plan, "outcome": f"it would have acted, but {why}"}
    if decision.reason is Reason.RESOLVED:
        return State.RESOLVED, {"outcome": decision.detail}
    return State.REFUSED, {
        "refusal": decision.reason,
        "outcome": decision.detail,
        "next_act_at": decision.retry_at,
        "caused_by": decision.caused_by,
    }


def shown(evidence: Evidence, verdict: Verdict | None, labels: Mapping[str, str]) -> dict[str, Any]:
    """The part of the evidence that a person looks at: the last quarter of an hour, by role.

    `sketches` are what is drawn.
    """
    since = evidence.at - _SHOWN_S
    recent = {
        role: [
            [time, value]
            for time, value in zip(series.times, series.values, strict=True)
            if time >= since
        ]
        for role, series in (evidence.recent or {}).items()
    }
    peers = None if evidence.peers is None else sorted(evidence.peers)
    return {
        "at": evidence.at,
        "recent": recent,
        "peers": peers,
        "problems": list(evidence.problems),
        "sketches": sketches(
            evidence, verdict, ROLES_OF_ALERT.get(labels.get("alertname", ""), ())
        ),
    }
