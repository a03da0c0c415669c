"""What the card of a model says of its figures, as Markdown for `docs/model.md`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ROWS = {
    "recall of incidents": "recall",
    "undecided": "undecided",
    "benign not confirmed": "benign_not_confirmed",
    "average precision": "average_precision",
    "suppressed at 95 % recall": "suppressed_at_95_recall",
    "calibration error": "calibration_error",
}
_TITLES = {
    "stream-dev": "injected and natural alerts",
    "real-dev": "labelled alerts of real machines",
}
_INJECTED = "stream-dev"
EVERY_KIND = "every kind left out"

Found = Mapping[str, Any]


def figures(card: Found) -> str:
    """Tables of a card: by set, by kind, and of kinds that were left out in training."""
    sets = sorted(card["figures"], key=lambda one: one["set"] != _INJECTED)
    parts = [_by_set(sets)]
    known = {one["kind"]: one for one in sets[0]["kinds"]}
    parts.append(_by_kind(sets[0]["kinds"]))
    if card["rehearsal"]:
        parts.append(_unseen(card["rehearsal"], known))
    return "\n\n".join(parts)


def _by_set(sets: Sequence[Found]) -> str:
    titles = [f"{_TITLES.get(one['set'], one['set'])} ({one['alerts']:,})" for one in sets]
    lines = [["", *titles], ["precision of confirmed [95 %]", *map(_precision, sets)]]
    lines += [[name, *(_share(one[key]) for one in sets)] for name, key in _ROWS.items()]
    return _table(lines)


def _by_kind(kinds: Sequence[Found]) -> str:
    lines = [["kind", "is", "confirmed", "undecided", "refuted"]]
    for one in kinds:
        answers = (one[answer] / one["alerts"] for answer in ("confirmed", "undecided", "refuted"))
        lines.append([one["kind"], _label(one), *(f"{share:.2f}" for share in answers)])
    return _table(lines)


def _unseen(rehearsal: Sequence[Found], known: Mapping[str, Found]) -> str:
    every = next(one for one in rehearsal if one["set"] == EVERY_KIND)
    alone = {line["kind"]: line for one in rehearsal if one is not every for line in one["kinds"]}
    lines = [["kind", "is", "no kind known", "this one unknown", "known"]]
    for one in every["kinds"]:
        seen = (one, alone.get(one["kind"]), known.get(one["kind"]))
        lines.append([one["kind"], _label(one), *map(_confirmed, seen)])
    lines += list(_whole(every["kinds"]))
    return "Confirmed, by what the model had been taught of the kind:\n\n" + _table(lines)


def _whole(kinds: Sequence[Found]) -> Iterator[list[str]]:
    for incident in (True, False):
        mine = [one for one in kinds if one["incident"] is incident]
        if mine:
            share = sum(one["confirmed"] for one in mine) / sum(one["alerts"] for one in mine)
            yield ["all", _label(mine[0]), f"{share:.3f}", "", ""]


def _confirmed(one: Found | None) -> str:
    return "" if one is None else f"{one['confirmed'] / one['alerts']:.2f}"


def _label(one: Found) -> str:
    return "incident" if one["incident"] else "benign"


def _precision(one: Found) -> str:
    interval = f"[{one['precision_low']:.3f}, {one['precision_high']:.3f}]"
    return f"{_share(one['precision'])} {interval}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in ruled)
