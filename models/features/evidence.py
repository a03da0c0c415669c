"""The metrics of one alert's target, as handed to the re-check."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Series:
    """Samples in time order: epoch seconds and values, equally long. Gaps are missing samples.

    Kept as they are computed with, which spares each decision a conversion of all of them.
    """

    times: Sequence[float] = ()
    values: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name in ("times", "values"):
            given = getattr(self, name)
            if isinstance(given, list | tuple):
                object.__setattr__(self, name, array("d", given))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was known of a target at one moment, and nothing later.

    Keys of the inner mappings are roles (`models.features.signals`). `history` holds 5-minute means
    of up to 15 days, `recent` the last 2 hours at 15 s and their last 2 minutes at 5 s, `peers` the
    siblings' last 30 minutes at 30 s by instance id (the target itself is not among them).
    `None` is a question that Prometheus did not answer, an empty mapping one that it answered
    with nothing. `relative` says that values have lost their units, as in published sets: no
    absolute size means anything.
    """

    target: str
    at: float
    history: Mapping[str, Series] | None = None
    recent: Mapping[str, Series] | None = None
    peers: Mapping[str, Mapping[str, Series]] | None = None
    problems: tuple[str, ...] = field(default=())
    relative: bool = False
