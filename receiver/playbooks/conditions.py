"""The conditions of playbook steps: `verdict.answer == "confirmed" and not group.surging`.

The language is a subset of rule-engine's (https://zerosteiner.github.io/rule-engine/), type-checked
when a playbook is loaded. It is three-valued here: a condition that reads an unknown fact is
unknown, whatever its operators. A missing label is the empty string, as in a matcher.
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
# All tokens of a condition. The rest of the language (regular expressions, powers, shifts, loops,
# 1e999999) can take for ever on hostile values, such as a label's.
_TOKEN = re.compile(
    r"""\s | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [A-Za-z_]\w*
      | \d{1,15}(?:\.\d{1,15})?(?![\w.]) | [=!<>]= | <(?!<) | >(?!>) | \*(?!\*)
      | [-+/%()\[\],.?:]""",
    re.ASCII | re.VERBOSE,
)
_FORBIDDEN = frozenset({"ceiling", "floor", "for", "to_int"})
# Arithmetic raises these on a fact or label that is not a number: "007" is a SyntaxError.
_FAULTS = (EngineError, ArithmeticError, RecursionError, SyntaxError, TypeError, ValueError)


class ConditionError(ValueError):
    """An invalid condition; the text has the reason."""


class _UnknownFactError(Exception):
    """The condition reads a fact that is unknown."""


@dataclass(frozen=True, kw_only=True)
class VerdictFacts:
    """The verdict; `answer` is "confirmed" or "undecided": a refuted alert is refused earlier.

    `kind` is the kind of fault that a confirmed incident looks like (see FaultKind
    in models.inference.parameters).
    """

    answer: str | None
    score: float | None
    confidence: float | None
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """`size` counts the members, `in_service` those that serve, `alerting` those with an alert.

    `peers` counts the members whose metrics could be compared, `peers_moved` those whose metrics
    moved in the same way. `one_zone` and `one_version`: several members alert, all of them in the
    same zone or of the same launch-template version, and members of other zones or versions do not.
    `bad_version`: several members alert of one version, most of those that have it, and the service
    never saw it healthy, unlike another one. `refresh`: an unfinished instance refresh is
    "reversible" if AWS can roll it back, else "irreversible"; without one it is "none".
    `storm`: so many alert that the service acts on no single instance.
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
    bad_version: bool | None
    refresh: str | None


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """The target; `kind` is "instance" or "group", `age_s` counts from its launch.

    The checks are EC2's status checks in its words: "ok", "impaired", "initializing",
    "insufficient-data", "not-applicable"; `volume_check` is "impaired" where EC2 stopped the I/O of
    a volume, else "ok". `event` is the code of the host's next scheduled event,
    "" without one, and `event_in_s` the seconds until it begins, infinite without one.
    """

    id: str | None
    kind: str | None
    az: str | None
    age_s: float | None
    state: str | None = None
    system_check: str | None = None
    instance_check: str | None = None
    ebs_check: str | None = None
    volume_check: str | None = None
    event: str | None = None
    event_in_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The run; `rung` is the number of its first remaining step on the ladder, from 0."""

    rung: float


@dataclass(frozen=True, kw_only=True)
class ChangeFacts:
    """The newest change of the target's group that is known: a deploy, say; infinite without one.

    It was announced, or is the newest launch-template version's; an unfinished instance refresh is
    0 minutes ago.
    """

    minutes_ago: float | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All facts that a condition may read; None is unknown, and so is a missing fact."""

    verdict: VerdictFacts
    group: GroupFacts
    target: TargetFacts
    labels: Mapping[str, str]
    facts: Mapping[str, float]
    run: RunFacts
    change: ChangeFacts = ChangeFacts(minutes_ago=None)


_TYPES = {str: DataType.STRING, float: DataType.FLOAT, bool: DataType.BOOLEAN}


def _known(facts: object, name: str) -> object:
    """The fact. Raises if it is unknown, because in the language `not None` would be true."""
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


def _resolve(owner: object, name: str) -> object:
    """Resolve an attribute of an expression whose type is unknown before the evaluation."""
    if isinstance(owner, Mapping):
        return owner[name]
    if isinstance(owner, Facts):
        return _known(owner, name)
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
        """Whether the condition is true; None if it reads an unknown fact."""
        try:
            # A missing label is the empty string, as in a matcher.
            labels = dict.fromkeys(_LABEL.findall(self.text), "") | dict(facts.labels)
            return bool(self.rule.evaluate(replace(facts, labels=labels)))
        except (_UnknownFactError, LookupError, *_FAULTS):
            return None


def condition(text: str) -> Condition:
    """The checked condition. Raises ConditionError."""
    if len(text) > _LENGTH_MAX:
        raise ConditionError(f"the condition is longer than {_LENGTH_MAX} characters")
    if (token := _forbidden_token(text)) is not None:
        raise ConditionError(f"{token} is not allowed in a condition; match labels in `match`")
    try:
        rule = rule_engine.Rule(text, context=_CONTEXT)
    except EngineError as error:
        hint = getattr(error, "suggestion", None)
        message = f"{error.message}; did you mean {hint}?" if hint else error.message
        raise ConditionError(message) from None
    except _FAULTS as error:
        raise ConditionError(f"the condition cannot be parsed: {type(error).__name__}") from None
    kind = rule.statement.expression.result_type
    if kind != DataType.BOOLEAN:
        raise ConditionError(f"the condition is of type {kind.name.lower()}, not true or false")
    return Condition(text, rule)


def _forbidden_token(text: str) -> str | None:
    """The first token that a condition may not contain."""
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token[0] in _FORBIDDEN:
            return token[0] if token else text[at : at + 2].strip()
        at = token.end()
    return None
