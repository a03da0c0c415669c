"""Parts of the documents, for tests that hold them to the code."""

import re
from pathlib import Path

_BLOCK = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    text = page.read_text()
    # A comment in a code block is no heading.
    prose = _BLOCK.sub(lambda code: " " * len(code[0]), text)
    start = re.search(rf"^(#+) {re.escape(heading)}$", prose, re.MULTILINE)
    assert start is not None, f"{page.name} has no heading {heading!r}"
    end = re.compile(rf"^#{{1,{len(start[1])}}} ", re.MULTILINE).search(prose, start.end())
    return text[start.end() : end.start() if end else None]
