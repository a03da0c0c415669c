"""A table of the re-check's answers by kind, over sets of `make lab`: `SET SCORES` of each."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

_ANSWERS = ("confirmed", "refuted", "undecided")


def count_answers(alerts: Path, scores: Path) -> Mapping[tuple[str, str], Counter[str]]:
    """The answers by label and kind."""
    kinds = {}
    for line in alerts.read_text().splitlines():
        alert = json.loads(line)
        kinds[alert["id"]] = (alert["label"], alert["kind"])
    counts: dict[tuple[str, str], Counter[str]] = {}
    for line in scores.read_text().splitlines():
        told = json.loads(line)
        counts.setdefault(kinds[told["id"]], Counter())[told["answer"]] += 1
    return counts


def rows(counts: Mapping[tuple[str, str], Counter[str]]) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"| label | kind | {' | '.join(_ANSWERS)} |"
    yield f"|---|---|{'---|' * len(_ANSWERS)}"
    for (label, kind), answers in sorted(counts.items(), reverse=True):
        cells = " | ".join(str(answers[answer]) for answer in _ANSWERS)
        yield f"| {label} | {kind} | {cells} |"


def main(arguments: Sequence[str]) -> None:
    total: dict[tuple[str, str], Counter[str]] = {}
    for folder, scores in zip(arguments[::2], arguments[1::2], strict=True):
        counts = count_answers(Path(folder) / "alerts.jsonl", Path(scores))
        for key, answers in counts.items():
            total.setdefault(key, Counter()).update(answers)
    for line in rows(total):
        click.echo(line)


if __name__ == "__main__":
    main(sys.argv[1:])
