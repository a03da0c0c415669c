"""Renders the figures of a model's card as Markdown for `docs/model.md`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ROWS = {
    "recall of incidents": "recall",
    "precision of refuted": "refuted_precision",
    "undecided": "undecided",
    "benign not confirmed": "benign_not_confirmed",
    "suppressed at 95 % recall": "suppressed_at_95_recall",
    "calibration error": "calibration_error",
}
_TITLES = {
    "stream-dev": "injected and natural alerts",
    "real-dev": "labelled alerts of real machines",
    "appserver-dev": "labelled alerts of application servers",
}
_INJECTED = "stream-dev"
EVERY_KIND = "every kind left out"
_UNSEEN = """\
Share of alerts confirmed, by the alerts that the model was trained on. *No kind known*: none of the
injected ones. *This one unknown*: all but this kind. *Known*: all kinds. `smartcloudops train
--rehearse` measures the first two on machines that were not in training."""

_LEFT_OUT = """\
Average precision on each set, by a model that was trained on the other sets alone, and on other
machines."""

Figures = Mapping[str, Any]


def render_figures(card: Figures) -> str:
    """Tables of a card: by set, by kind, and by kind that was left out of the training."""
    sets = sorted(card["figures"], key=lambda figures: figures["set"] != _INJECTED)
    parts = [_by_set(sets)]
    trained = {line["kind"]: line for line in sets[0]["kinds"]}
    parts.append(_by_kind(sets[0]["kinds"]))
    if card["rehearsal"]:
        parts += [_unseen(card["rehearsal"], trained), _by_left_out(card["left_out"], sets)]
    return "\n\n".join(parts)


def _by_set(sets: Sequence[Figures]) -> str:
    titles = [
        f"{_TITLES.get(figures['set'], figures['set'])} ({figures['alerts']:,})" for figures in sets
    ]
    lines = [["", *titles], ["precision of confirmed [95 %]", *map(_precision, sets)]]
    lines += [[name, *(_share(figures[key]) for figures in sets)] for name, key in _ROWS.items()]
    lines.append(["incidents of what is told at 0.95 or more", *map(_sure, sets)])
    lines.append(["average precision [95 % over machines]", *map(_average_precision, sets)])
    return _table(lines)


def _by_kind(kinds: Sequence[Figures]) -> str:
    lines = [["kind", "is", "confirmed", "undecided", "refuted"]]
    for kind in kinds:
        answers = (
            kind[answer] / kind["alerts"] for answer in ("confirmed", "undecided", "refuted")
        )
        lines.append([kind["kind"], _label(kind), *(f"{share:.2f}" for share in answers)])
    return _table(lines)


def _unseen(rehearsal: Sequence[Figures], trained: Mapping[str, Figures]) -> str:
    every = next(figures for figures in rehearsal if figures["set"] == EVERY_KIND)
    alone = {
        line["kind"]: line
        for figures in rehearsal
        if figures is not every
        for line in figures["kinds"]
    }
    lines = [["kind", "is", "no kind known", "this one unknown", "known"]]
    for kind in every["kinds"]:
        name = kind["kind"]
        compared = (kind, alone.get(name), trained.get(name))
        lines.append([name, _label(kind), *map(_confirmed, compared)])
    lines += list(_whole(every["kinds"]))
    return f"{_UNSEEN}\n\n{_table(lines)}"


def _by_left_out(left_out: Sequence[Figures], sets: Sequence[Figures]) -> str:
    trained = {figures["set"]: figures for figures in sets}
    lines: list[list[str]] = [["set", "left out", "trained on, too"]]
    for figures in left_out:
        name = str(figures["set"])
        compared = (figures, trained[name])
        lines.append([_TITLES.get(name, name), *map(_average_precision, compared)])
    return f"{_LEFT_OUT}\n\n{_table(lines)}"


def _whole(kinds: Sequence[Figures]) -> Iterator[list[str]]:
    for incident in (True, False):
        alike = [kind for kind in kinds if kind["incident"] is incident]
        if alike:
            confirmed = sum(kind["confirmed"] for kind in alike)
            share = confirmed / sum(kind["alerts"] for kind in alike)
            yield ["all", _label(alike[0]), f"{share:.3f}", "", ""]


def _confirmed(kind: Figures | None) -> str:
    return "" if kind is None else f"{kind['confirmed'] / kind['alerts']:.2f}"


def _label(kind: Figures) -> str:
    return "incident" if kind["incident"] else "benign"


def _precision(figures: Figures) -> str:
    interval = f"[{figures['precision_low']:.3f}, {figures['precision_high']:.3f}]"
    return f"{_share(figures['precision'])} {interval}"


def _sure(figures: Figures) -> str:
    sure = figures["sure"]
    return "-" if sure is None else f"{_share(sure['incidents'])} of {sure['alerts']}"


def _average_precision(figures: Figures) -> str:
    over = figures["average_precision_over_groups"]
    interval = f" [{over[0]:.3f}, {over[1]:.3f}]" if over else ""
    return f"{_share(figures['average_precision'])}{interval}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in ruled)
