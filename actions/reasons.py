"""Why an alert is not acted on: one vocabulary for the guards and for the claim."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """A closed set: each member has its paragraph in docs/refusals.md."""

    MALFORMED_ALERT = "malformed_alert"
    NO_PLAYBOOK = "no_playbook"
    AMBIGUOUS_PLAYBOOK = "ambiguous_playbook"
    NO_TARGET = "no_target"
    PAUSED = "paused"
    RESOLVED = "resolved"
    STALE = "stale"
    TARGET_BUSY = "target_busy"
    COOLDOWN = "cooldown"
    STATE_UNKNOWN = "state_unknown"
    TARGET_UNPROVEN = "target_unproven"
    VERDICT_REFUTED = "verdict_refuted"
    VERDICT_UNDECIDED = "verdict_undecided"
    CONDITION_UNKNOWN = "condition_unknown"
    NO_STEP = "no_step"
    OVERRIDE_HOLD = "override_hold"
    SELF_INFLICTED = "self_inflicted"
    RATE_LIMIT = "rate_limit"
    BREAKER_OPEN = "breaker_open"
    STORM = "storm"
    CHANGE_IN_PROGRESS = "change_in_progress"
    PROTECTED = "protected"
    BLAST_RADIUS = "blast_radius"
    MIN_HEALTHY = "min_healthy"
    PLAN_CHANGED = "plan_changed"
    DISARMED = "disarmed"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True)
class Refusal:
    """Why a guard, or the claim, does not let a run go on.

    `retry_at` is when a repeat of the alert is decided again at the earliest, `caused_by` the run
    whose action caused the alert.
    """

    reason: Reason
    detail: str
    retry_at: float | None = None
    caused_by: str | None = None
