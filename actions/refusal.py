"""The refusal of a guard or of the claim."""

from dataclasses import dataclass

from actions.reasons import Reason


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
