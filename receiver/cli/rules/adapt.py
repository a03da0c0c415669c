"""Adapts the shipped rules, which are written for a scrape of 5 s and the job `node`, to a shop.

A window must have four scrapes, as one may be late and a rate needs two; `for` must have two.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from receiver.durations import parse_duration

_WINDOW_SCRAPES, _FOR_SCRAPES = 4, 2
_JOB = re.compile(r'(\bjob=)"node"')
_WINDOW = re.compile(r"\[(\d+[smh])\]")
_FOR = re.compile(r"^( +for: )(\d+[smh])$", re.MULTILINE)
_INTERVAL = re.compile(r"^( +interval: )\S+$", re.MULTILINE)
_COMMENT = re.compile(r"\A(#.*\n)+")


def adapt(text: str, *, scrape_s: float, job: str) -> str:
    """The rules of a file, with its windows, its `for`, its interval and its job."""

    def at_least(scrapes: int, duration: str) -> str:
        least = scrapes * scrape_s
        return duration if parse_duration(duration) >= least else f"{least:.0f}s"

    text = _JOB.sub(rf'\1"{job}"', text)
    text = _WINDOW.sub(lambda found: f"[{at_least(_WINDOW_SCRAPES, found[1])}]", text)
    text = _FOR.sub(lambda found: f"{found[1]}{at_least(_FOR_SCRAPES, found[2])}", text)
    return _INTERVAL.sub(rf"\g<1>{scrape_s:.0f}s", text)


def join(folder: Path, names: Sequence[str], *, scrape_s: float, job: str) -> str:
    """One rule file with the groups of several. Raises OSError."""
    files = [(folder / f"{name}.yml").read_text() for name in names]
    groups = [
        _COMMENT.sub("", adapt(text, scrape_s=scrape_s, job=job)).removeprefix("groups:\n")
        for text in files
    ]
    head = f"# smartcloudops rules --scrape {scrape_s:.0f}s --job {job} {' '.join(names)}\n"
    return f"{head}groups:\n{''.join(groups)}"
