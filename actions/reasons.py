"""Why an alert is not acted on: one vocabulary for the guards and for the claim.

This module is generated from the docstrings of guards and rules (`make reference`).
"""

from enum import StrEnum


class Reason(StrEnum):
    """A closed set: each member has its paragraph in docs/refusals.md."""

    MALFORMED_ALERT = "malformed_alert"
    NO_PLAYBOOK = "no_playbook"
    AMBIGUOUS_PLAYBOOK = "ambiguous_playbook"
    PLAYBOOK_CHANGED = "playbook_changed"
    NO_TARGET = "no_target"
    OUTSIDE_WINDOW = "outside_window"
    STALE = "stale"
    NO_HEALTHY_VERSION = "no_healthy_version"
    CAUSE_ELSEWHERE = "cause_elsewhere"
    SELF_INFLICTED = "self_inflicted"
    NO_GROUP = "no_group"
    CHANGE_IN_PROGRESS = "change_in_progress"
    HARDWARE_FAILED = "hardware_failed"
    PROTECTED = "protected"
    STORM = "storm"
    TARGET_UNPROVEN = "target_unproven"
    RESOLVED = "resolved"
    VERDICT_REFUTED = "verdict_refuted"
    VERDICT_UNDECIDED = "verdict_undecided"
    CANNOT_TELL_YET = "cannot_tell_yet"
    PLAN_CHANGED = "plan_changed"
    CONDITION_UNKNOWN = "condition_unknown"
    NO_STEP = "no_step"
    NOT_LISTED = "not_listed"
    OVERRIDE_HOLD = "override_hold"
    DISARMED = "disarmed"
    STATE_UNKNOWN = "state_unknown"
    PAUSED = "paused"
    TARGET_BUSY = "target_busy"
    COOLDOWN = "cooldown"
    RATE_LIMIT = "rate_limit"
    BREAKER_OPEN = "breaker_open"
    NOT_FEASIBLE = "not_feasible"
    BLAST_RADIUS = "blast_radius"
    MIN_HEALTHY = "min_healthy"
    INTERNAL_ERROR = "internal_error"
