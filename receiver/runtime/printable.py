"""Text that others chose, for a terminal: without the characters that control one.

An escape sequence in a label could recolour, hide or overwrite what a person reads, and a
bidirectional override could show another name (https://trojansource.codes).
"""

import unicodedata

_KEPT = "\n\t"
# Controls, formats such as bidirectional overrides, surrogates, and line breaks of other kinds.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """The text with control characters escaped as Python does; line feeds and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in _ESCAPED else char for char in text
    )


def _escaped(char: str) -> str:
    return char if char in _KEPT else char.encode("unicode_escape").decode()
