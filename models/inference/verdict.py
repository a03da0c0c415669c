"""The answer of the re-check: whether a remediation would help; it may be undecided."""

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """One reason of an answer, as text for people."""

    role: str
    sigma: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and its reasons.

    `score` in [0, 1] orders alerts, larger is more likely an incident. `confidence` in [0, 1] is
    the probability that the alert is an incident, None where it is unknown. `peers` counts the
    siblings that could be compared, `peers_moved` the siblings that moved the same way; `surging`:
    the whole group carries more traffic. `kind` is the `FaultKind` that the alert looks like.
    `unusual` is the distance from the target's own past, of which 99 % is within 1; it is not
    learned. None is unknown. `early` says that its samples are from before the alert.
    """

    answer: Answer
    score: float
    confidence: float | None
    model: str
    contributions: tuple[Contribution, ...]
    peers: int | None = None
    peers_moved: int | None = None
    surging: bool | None = None
    kind: str | None = None
    unusual: float | None = None
    early: bool = False
