"""Removes secrets from text before it goes to a log, a chat or a model.

Known secrets are found by their value, others by the forms that secrets commonly have. A text that
only looks like a secret is removed, too, because a lost word costs less than a leaked key. RE2
takes time linear in the text, even for hostile text.
"""

from collections.abc import Callable, Collection

import re2

_GONE = "[redacted]"
_SHORTEST = 8
_PLAIN_MAX = 500
_FORMS = tuple(
    re2.compile(form)
    for form in (
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        # AWS, Slack, GitHub, OpenAI and its kin, JSON Web Tokens.
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bxox[a-z]-[0-9A-Za-z-]{10,}",
        r"\bgh[a-z]_[0-9A-Za-z]{20,}",
        r"\bsk-[0-9A-Za-z_-]{16,}",
        r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*",
    )
)
_LONG = re2.compile(r"[\w/+-]{32,}={0,2}")
_NAMED = re2.compile(
    r"(?i)\b([a-z0-9_-]{0,40}"
    r"(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credentials?)"
    r"""["']?\s*[:=]\s*["']?|authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic)\s+)?)"""
    r"""[^\s"',;&)}\[\]]{4,}"""
)
_SCHEME = re2.compile(r"""(?i)\b((?:bearer|basic)\s+)([^\s"',;&)}\[\]]{4,})""")
# A credential is longer or has more than letters, unlike a word: "a bearer token is needed".
_LONGEST_WORD = 15
_IN_URL = re2.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@")


class Redaction:
    """Removes secrets; values in `secrets` shorter than 8 characters are kept."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        long_enough = (secret for secret in secrets if len(secret) >= _SHORTEST)
        self._secrets = sorted(long_enough, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        # RE2 takes no subclass of str, and reads UTF-8, which has no lone surrogates.
        text = text.encode("utf-8", "replace").decode()
        for secret in self._secrets:
            text = text.replace(secret, _GONE)
        text = _IN_URL.sub(rf"\1{_GONE}@", text)
        text = _NAMED.sub(rf"\1{_GONE}", text)
        text = _SCHEME.sub(_replace_if(_is_credential, 2), text)
        for form in _FORMS:
            text = form.sub(_GONE, text)
        return str(_LONG.sub(_replace_if(_is_random, 0), text))


def _replace_if(secret: Callable[[str], bool], group: int) -> Callable[["re2._Match"], str]:
    """A replacer that removes the group's text if it is a secret, and else keeps the match."""

    def replace(match: "re2._Match") -> str:
        text, whole = match.group(group), match.group()
        return f"{whole.removesuffix(text)}{_GONE}" if secret(text) else f"{whole}"

    return replace


def _is_credential(text: str) -> bool:
    """Whether the text after `bearer` or `basic` is a credential, not a word of a sentence."""
    return len(text) > _LONGEST_WORD or any(not letter.isalpha() for letter in text.rstrip(".:"))


def _is_random(text: str) -> bool:
    """Whether a long text has letters of both cases and digits, like our tokens, and is no path."""
    return not text.startswith("/") and all(
        any(holds(letter) for letter in text) for holds in (str.islower, str.isupper, str.isdigit)
    )


def plain(text: str) -> str:
    """One line of at most 500 characters without markup, mentions or links of a chat."""
    kept = "".join(char if char.isprintable() and char not in "<>@`*_" else " " for char in text)
    return " ".join(kept.split())[:_PLAIN_MAX]
