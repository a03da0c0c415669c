"""The final state, and the texts, of a run for which a decision allows no (further) step."""

from collections.abc import Mapping
from typing import Any

from actions.reasons import Reason
from models.features.evidence import Evidence
from models.features.signals import ROLES_OF_ALERT
from models.inference.verdict import Verdict
from receiver.decision.model import Observe, Refusal
from receiver.decision.stored_plan import to_stored
from receiver.evidence.plot_data import plot_series
from receiver.runs.model import Run, State

# A person sees the last quarter of an hour.
_SHOWN_S = 900.0


def failure_text(decision: Observe | Refusal) -> str:
    """Why a run that acted, and whose target did not recover, takes no further step."""
    observing = isinstance(decision, Observe)
    reason = "the mode is observe" if observing else decision.gates[-1].detail
    return (
        f"the target did not recover, and no further step is allowed: {reason}; a person is needed"
    )


def final_state(run: Run, decision: Observe | Refusal) -> tuple[State, dict[str, Any]]:
    """The state in which a run ends that did nothing, and the columns to set."""
    if isinstance(decision, Observe):
        plan = to_stored(decision.plan, run.id, run.labels)
        dry_run = run.asked is not None and run.asked["dry_run"]
        reason = "this is a dry run" if dry_run else "the mode is observe"
        return State.OBSERVED, {"plan": plan, "outcome": f"it would have acted, but {reason}"}
    if decision.reason is Reason.RESOLVED:
        return State.RESOLVED, {"outcome": decision.detail}
    return State.REFUSED, {
        "refusal": decision.reason,
        "outcome": decision.detail,
        "next_act_at": decision.retry_at,
        "caused_by": decision.caused_by,
    }


def evidence_view(
    evidence: Evidence, verdict: Verdict | None, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The part of the evidence that people see: the last quarter of an hour, by role.

    `sketches` are the down-sampled series for plots.
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
        "sketches": plot_series(
            evidence, verdict, ROLES_OF_ALERT.get(labels.get("alertname", ""), ())
        ),
    }
