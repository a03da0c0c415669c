"""The refusal of a guard or of the claim."""

from dataclasses import dataclass

from actions.reasons import Reason


@dataclass(frozen=True)
class Refusal:
    """The reason why a guard, or the claim, stops a run.

    A repeat of the alert is decided again at `retry_at` at the earliest; `caused_by` is the run
    whose action caused the alert.
    """

    reason: Reason
    detail: str
    retry_at: float | None = None
    caused_by: str | None = None
