"""Alertmanager's matchers: `alertname="HighCPU"`, `severity=~"warning|critical"`.

Syntax: https://prometheus.io/docs/alerting/latest/configuration/#matcher. Regular expressions are
RE2, as in Alertmanager: anchored, and linear in the length of a label.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import re2

_FORM = re.compile(
    r'([A-Za-z_:][A-Za-z0-9_:]*)\s*+(=~|!~|!=|=)\s*+(?:"((?:[^"\\]|\\.)*+)"|([^"{},]*+))'
)
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


class MatcherError(ValueError):
    """An invalid matcher; the text has the reason."""


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """A comparison of a label; a missing label is the empty string."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool
    _pattern: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises MatcherError where the regular expression cannot be compiled."""
        pattern = None
        if self.is_regex:
            options = re2.Options()
            options.log_errors = False
            try:
                pattern = re2.compile(self.value, options)
            except re2.error as error:
                message = error.args[0] if error.args else "not a regular expression"
                text = (
                    message.decode(errors="replace") if isinstance(message, bytes) else str(message)
                )
                raise MatcherError(f"{self.name}: {text}") from None
        object.__setattr__(self, "_pattern", pattern)

    def __str__(self) -> str:
        sign = ("=" if self.is_equal else "!") + (
            "~" if self.is_regex else "" if self.is_equal else "="
        )
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{sign}"{value}"'

    def as_json(self) -> dict[str, str | bool]:
        """The matcher as Alertmanager's API has it."""
        return {
            "name": self.name,
            "value": self.value,
            "isRegex": self.is_regex,
            "isEqual": self.is_equal,
        }

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.matches_value(labels.get(self.name, ""))

    def matches_value(self, text: str) -> bool:
        if self._pattern is None:
            return (text == self.value) is self.is_equal
        # RE2 reads UTF-8: characters that cannot be encoded are matched as question marks.
        fits = self._pattern.fullmatch(text.encode("utf-8", "replace").decode()) is not None
        return fits is self.is_equal


def parse(text: str) -> Matcher:
    """Raises MatcherError."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise MatcherError(f'{text!r} is not a matcher; write name="value", with =, !=, =~ or !~')
    name, sign, quoted, bare = match.groups()
    value = bare if quoted is None else re.sub(r"\\.", _unescaped, quoted)
    return Matcher(name=name, value=value, is_regex="~" in sign, is_equal=sign.startswith("="))


def parse_all(text: str) -> tuple[Matcher, ...]:
    """Matchers with commas between them; none of an empty text. Raises MatcherError."""
    matchers, rest = list[Matcher](), text.strip().removesuffix(",")
    while rest:
        match = _FORM.match(rest)
        if match is None:
            parse(rest)
            raise MatcherError(f"{rest!r} is not a matcher")
        matchers.append(parse(match[0]))
        after = rest[match.end() :].lstrip()
        if after and not after.startswith(","):
            raise MatcherError(f"{after!r} follows a matcher without a comma")
        rest = after.removeprefix(",").lstrip()
    return tuple(matchers)


def _unescaped(escape: re.Match[str]) -> str:
    # As in Alertmanager, an unknown escape stays unchanged (\d of a regular expression).
    return _ESCAPES.get(escape[0], escape[0])
