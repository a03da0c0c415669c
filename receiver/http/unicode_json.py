"""Repairs JSON whose texts are not Unicode."""

import codecs
import re

_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
# A string has them as escapes only; between values they mean what a space means, or nothing.
_CONTROLS = bytes.maketrans(bytes(range(0x20)), b" " * 0x20)
# An escape of a JSON string; the group is half of a surrogate pair.
_ESCAPE = re.compile(_PAIR + rb"|(" + _HALF + rb")|\\.", re.DOTALL)


def as_unicode(body: bytes) -> bytes:
    """The JSON text with U+FFFD in place of bytes, and of half surrogate pairs, that are no text.

    Control characters become spaces. A byte order mark is left out, as
    https://www.rfc-editor.org/rfc/rfc8259#section-8.1 allows.
    """
    text = body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").encode()
    text = text.translate(_CONTROLS)
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)
