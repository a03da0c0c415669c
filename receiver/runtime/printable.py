"""Makes untrusted text safe for a terminal, by escaping control characters.

An escape sequence in a label could recolour, hide or overwrite output, and a bidirectional override
could show another name (https://trojansource.codes).
"""

import unicodedata

_KEPT = "\n\t"
# Controls, formats such as bidirectional overrides, surrogates, and Unicode line breaks.
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
