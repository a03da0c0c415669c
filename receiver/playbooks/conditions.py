"""The conditions of playbook steps: `verdict.answer == "confirmed" and not group.surging`.

The language is a part of rule-engine's (https://zerosteiner.github.io/rule-engine/), type-checked
when a playbook is loaded. It is three-valued here: where an expression reads a fact that is
unknown, it is neither true nor false, whatever operators surround it. A label that is missing is
the empty string, as it is to a matcher.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

import rule_engine
from rule_engine import DataType
from rule_engine.errors import EngineError

_LENGTH_MAX = 1000
_LABEL = re.compile(r"""\blabels\s*\[\s*["'](\w+)""")
# All that a condition is made of. What is left out of the language takes for ever on the wrong
# values, such as those of a label: regular expressions, powers, shifts, loops, 1e999999.
_TOKEN = re.compile(
    r"""\s | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [A-Za-z_]\w*
      | \d{1,15}(?:\.\d{1,15})?(?![\w.]) | [=!<>]= | <(?!<) | >(?!>) | \*(?!\*)
      | [-+/%()\[\],.?:]""",
    re.ASCII | re.VERBOSE,
)
_FORBIDDEN = frozenset({"ceiling", "floor", "for", "to_int"})
# Arithmetic raises on a fact that is no number, and on a label that is read as one and is none:
# "007" is a SyntaxError.
_FAULTS = (EngineError, ArithmeticError, RecursionError, SyntaxError, TypeError, ValueError)


class ConditionError(ValueError):
    """An expression that cannot be used; the text says why."""


class _UnknownFactError(Exception):
    """A fact was read that is not known."""


@dataclass(frozen=True, kw_only=True)
class VerdictFacts:
    """`answer` is "confirmed" or "undecided": what is refuted gets no further.

    `kind` is the fault that a confirmed alert looks like (`models.inference.parameters.FaultKind`).
    """

    answer: str | None
    score: float | None
    confidence: float | None
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """`size` counts the members, `in_service` those that serve, `alerting` those with an alert.

    `peers` counts those whose metrics could be compared, `peers_moved` those that moved alike.
    `one_zone` and `one_version`: more than one is alerting, all of them in one zone or of one
    launch-template version, and others are not. `storm`: so many that no instance is touched.
    """

    name: str | None
    surging: bool | None
    peers: float | None
    peers_moved: float | None
    size: float | None
    in_service: float | None
    desired: float | None
    min: float | None
    max: float | None
    alerting: float | None
    storm: bool | None
    one_zone: bool | None
    one_version: bool | None


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """`kind` is "instance" or "group"; `age_s` counts from its launch."""

    id: str | None
    kind: str | None
    az: str | None
    age_s: float | None


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """`rung` is the first step of the ladder that may still be taken, from 0."""

    rung: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a condition may speak of; None is unknown, and so is a fact that is not there."""

    verdict: VerdictFacts
    group: GroupFacts
    target: TargetFacts
    labels: Mapping[str, str]
    facts: Mapping[str, float]
    run: RunFacts


_TYPES = {str: DataType.STRING, float: DataType.FLOAT, bool: DataType.BOOLEAN}


def _known(facts: object, name: str) -> object:
    """Reading an unknown fact stops the evaluation: to the language, `not None` is true."""
    value = getattr(facts, name)
    if value is None:
        raise _UnknownFactError(name)
    return value


def _schema(section: type) -> Any:
    hints = get_type_hints(section)
    plain = {
        name: next(t for t in (get_args(hint) or (hint,)) if t) for name, hint in hints.items()
    }
    attributes = {name: _TYPES[kind] for name, kind in plain.items()}
    return DataType.OBJECT(section.__name__, attributes, accessor=_known)


def _resolve(thing: object, name: str) -> object:
    """Of what may be of one type or another, nothing is known but what these have."""
    if isinstance(thing, Mapping):
        return thing[name]
    if isinstance(thing, Facts):
        return _known(thing, name)
    raise _UnknownFactError(name)


_MAPPINGS = {
    "labels": DataType.MAPPING(DataType.STRING, DataType.STRING),
    "facts": DataType.MAPPING(DataType.STRING, DataType.FLOAT),
}
_CONTEXT = rule_engine.Context(
    type_resolver={
        name: _MAPPINGS.get(name) or _schema(section)
        for name, section in get_type_hints(Facts).items()
    },
    resolver=_resolve,
    mapping_attribute_lookup=False,
)


@dataclass(frozen=True)
class Condition:
    """A checked expression."""

    text: str
    rule: rule_engine.Rule

    def __str__(self) -> str:
        return self.text

    def evaluate(self, facts: Facts) -> bool | None:
        """Whether it holds; None where that rests on something unknown."""
        try:
            # A label that is missing is the empty string, as it is to a matcher.
            labels = dict.fromkeys(_LABEL.findall(self.text), "") | dict(facts.labels)
            return bool(self.rule.evaluate(replace(facts, labels=labels)))
        except (_UnknownFactError, LookupError, *_FAULTS):
            return None


def condition(text: str) -> Condition:
    """Raises ConditionError."""
    if len(text) > _LENGTH_MAX:
        raise ConditionError(f"a condition has at most {_LENGTH_MAX} characters")
    if (sign := _misplaced(text)) is not None:
        raise ConditionError(f"{sign} has no place in a condition; labels are matched in `match`")
    try:
        rule = rule_engine.Rule(text, context=_CONTEXT)
    except EngineError as error:
        hint = getattr(error, "suggestion", None)
        said = f"{error.message}; did you mean {hint}?" if hint else error.message
        raise ConditionError(said) from None
    except _FAULTS as error:
        raise ConditionError(f"it cannot be read: {type(error).__name__}") from None
    kind = rule.statement.expression.result_type
    if kind != DataType.BOOLEAN:
        raise ConditionError(f"it is of type {kind.name.lower()}, not true or false")
    return Condition(text, rule)


def _misplaced(text: str) -> str | None:
    """The first sign or word that a condition may not have."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found[0] in _FORBIDDEN:
            return found[0] if found else text[at : at + 2].strip()
        at = found.end()
    return None
