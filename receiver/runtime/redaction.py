"""Takes secrets out of text before it goes to a log, a chat or a model.

Known ones by their value, others by the forms that secrets commonly have. What looks like one and
is none is lost as well: that costs a reader a word, and the other way round costs a key.
"""

import re
from collections.abc import Collection

_GONE = "[redacted]"
_SHORTEST = 8
_PLAIN_MAX = 500
_FORMS = tuple(
    re.compile(form)
    for form in (
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        # AWS, Slack, GitHub, OpenAI and its kin, JSON Web Tokens.
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bxox[a-z]-[0-9A-Za-z-]{10,}",
        r"\bgh[a-z]_[0-9A-Za-z]{20,}",
        r"\bsk-[0-9A-Za-z_-]{16,}",
        r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*",
        # Long and random: letters of both cases and digits, as of our own tokens; not a path.
        r"(?<![\w/+-])(?!/)(?=[\w/+-]*[a-z])(?=[\w/+-]*[A-Z])(?=[\w/+-]*[0-9])[\w/+-]{32,}={0,2}",
    )
)
_SAID = re.compile(
    r"""(?ix)
    \b((?:[a-z0-9_-]{0,40}(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credentials?)
       ["']?\s*[:=]\s*["']?)
       | (?:authorization["']?\s*[:=]\s*["']?)?(?:bearer|basic)\s+)
    [^\s"',;&)}\[\]]{4,}
    """
)
_IN_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@")


class Redaction:
    """`known` are secrets by their value; those too short to be one are left."""

    def __init__(self, known: Collection[str] = ()) -> None:
        self._known = sorted((one for one in known if len(one) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for one in self._known:
            text = text.replace(one, _GONE)
        text = _IN_URL.sub(rf"\1{_GONE}@", text)
        text = _SAID.sub(rf"\1{_GONE}", text)
        for form in _FORMS:
            text = form.sub(_GONE, text)
        return text


def plain(text: str) -> str:
    """One line of at most 500 characters without markup, mentions or links of a chat."""
    kept = "".join(char if char.isprintable() and char not in "<>@`*_" else " " for char in text)
    return " ".join(kept.split())[:_PLAIN_MAX]
