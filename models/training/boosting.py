"""Fits the scorers of the model to labelled rows: seeded boosted trees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from models.features import distances
from models.features.vector import NAMES
from models.inference.parameters import FaultKind
from models.inference.scorers import UNKNOWN, Scorers, prepare_rows
from models.inference.tree_ensemble import Forest
from models.training.dataset import JUDGED, Origin, Rows
from models.training.export.tree_conversion import from_boosting, never

# The share of rows on which each model of a scorer is trained. Row weights would have the same
# effect, but make scikit-learn ten times as slow.
_MADE_SHARE = 0.8
_MODELS = 3
_DISTANCES = [NAMES.index(name) for name in distances.NAMES]
KIND_OF: dict[str, FaultKind] = {
    **dict.fromkeys(
        (
            *("cpu_runaway", "runaway", "spinning", "pegged"),
            *("runaway_at_night", "fork_storm", "starved_cpu"),
        ),
        FaultKind.RUNAWAY_PROCESS,
    ),
    **dict.fromkeys(
        ("mem_leak", "leak", "fast_leak", "hoarding", "thrashing", "spinning_leak"),
        FaultKind.MEMORY_LEAK,
    ),
    **dict.fromkeys(
        (
            "disk_stall",
            "slow_disk",
            "runaway_writes",
            "filling",
            "filled",
            "full_disk",
            "bad_neighbour",
        ),
        FaultKind.DISK,
    ),
    **dict.fromkeys(("net_degrade", "loss", "partition", "flood", "port_scan"), FaultKind.NETWORK),
    **dict.fromkeys(
        ("hang", "hung", "unanswering", "dead", "crash_loop", "slow_dependency", "connection_leak"),
        FaultKind.HANG,
    ),
    **dict.fromkeys(("overload", "overloaded", "saturated"), FaultKind.OVERLOAD),
}

Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Boosting:
    """The seed, and how many trees each classifier gets at most."""

    seed: int
    faults: int = 400
    alikes: int = 120
    kinds: int = 80


def fit(rows: Rows, boosting: Boosting) -> Scorers:
    x = prepare_rows(rows.vectors.astype(np.float64))
    # How far a host is from its past is an output of its own, of which nothing is learned.
    x[:, _DISTANCES] = UNKNOWN
    return Scorers(fault=_faults(x, rows, boosting), alike=_alikes(x, rows, boosting))


def fit_kinds(rows: Rows, boosting: Boosting) -> Forest:
    """Classifies the kind of fault of an incident."""
    names = list(FaultKind)
    kept = rows.incident & np.isin(rows.kind, list(KIND_OF))
    labels = np.array([names.index(KIND_OF[str(kind)]) for kind in rows.kind[kept]])
    model = HistGradientBoostingClassifier(
        max_iter=boosting.kinds,
        learning_rate=0.1,
        max_leaf_nodes=12,
        max_features=0.3,
        random_state=boosting.seed,
    )
    return from_boosting(model.fit(prepare_rows(rows.vectors[kept].astype(np.float64)), labels))


def _faults(x: NDArray[np.float32], rows: Rows, boosting: Boosting) -> Forest:
    rng = np.random.default_rng(boosting.seed)
    natural, judged = rows.origin == Origin.NATURAL, rows.kind == JUDGED
    # The incidents of published sets show no signature of a fault; incidents of this fleet do.
    usable = ~(natural & rows.incident) | judged
    synthetic = ~rows.counted & ~judged
    models = []
    for number in range(_MODELS):
        kept = usable & (~synthetic | (rng.random(len(rows)) < _MADE_SHARE))
        model = HistGradientBoostingClassifier(
            max_iter=boosting.faults,
            learning_rate=0.06,
            max_leaf_nodes=15,
            l2_regularization=3,
            max_features=0.2,
            random_state=boosting.seed + number,
        )
        models.append(model.fit(x[kept], rows.incident[kept]))
    return from_boosting(*models)


def _alikes(x: NDArray[np.float32], rows: Rows, boosting: Boosting) -> Forest:
    """Injected look-alikes against what was not injected; near 0 if there are none.

    Only of what was made for training: the sets have few kinds of look-alikes.
    """
    injected = rows.origin == Origin.INJECTED
    kept = ~rows.counted & ~(injected & rows.incident)
    if injected[kept].all() or not injected[kept].any():
        return never()
    models = [
        HistGradientBoostingClassifier(
            max_iter=boosting.alikes,
            learning_rate=0.08,
            max_leaf_nodes=15,
            l2_regularization=3,
            max_features=0.15,
            random_state=boosting.seed + number,
        ).fit(x[kept], injected[kept])
        for number in range(_MODELS)
    ]
    return from_boosting(*models)
