"""The metrics of an alert's target, the input of the re-check."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Series:
    """Samples in time order: as many epoch seconds as values. Gaps are missing samples.

    They are arrays of doubles, so that a decision need not convert them.
    """

    times: Sequence[float] = ()
    values: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name in ("times", "values"):
            samples = getattr(self, name)
            if isinstance(samples, list | tuple):
                object.__setattr__(self, name, array("d", samples))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The metrics of a target at one moment, without any later sample.

    Keys of the inner mappings are roles (`models.features.signals`). `history` holds 5-minute means
    of up to 15 days, `recent` the last 2 hours at 15 s and their last 2 minutes at 5 s, `peers` the
    siblings' last 30 minutes at 30 s by instance id (the target itself is not among them). `None`
    stands for a query that Prometheus did not answer, an empty mapping for an answer without
    series. `relative`: values have no units, as in published sets, so absolute sizes are not
    compared.
    """

    target: str
    at: float
    history: Mapping[str, Series] | None = None
    recent: Mapping[str, Series] | None = None
    peers: Mapping[str, Mapping[str, Series]] | None = None
    problems: tuple[str, ...] = field(default=())
    relative: bool = False
