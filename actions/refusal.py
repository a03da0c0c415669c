"""The refusal of a guard or of the claim."""

from dataclasses import dataclass

from actions.reasons import Reason

# Seconds from a refusal until the alert's next repeat may be decided again, unless the refusal
# tells a time of its own, or nothing can lift it.
RETRY_AFTER_S = 60.0


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
