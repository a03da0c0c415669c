"""Whether PromQL expressions select series that exist."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.playbooks.placeholders import EXAMPLES
from receiver.playbooks.promql.measure import PromqlError, parse

# Functions that return something where nothing is selected.
_OF_NOTHING = frozenset({"absent", "absent_over_time", "vector", "time"})
_OPERATORS = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}
# Selectors in one query.
_AT_ONCE = 50


class SeriesPresence:
    """Tells which selectors have series; `learn` asks Prometheus for many of them at once."""

    def __init__(self, prometheus: Prometheus, at: float) -> None:
        self._prometheus, self._at = prometheus, at
        self._present: dict[str, bool] = {}

    def learn(self, texts: Collection[str]) -> None:
        """Ask for the selectors of these expressions. Raises PrometheusError."""
        wanted = {s for text in texts for s in _selectors(_parsed(text))} - self._present.keys()
        ordered = sorted(wanted)
        for start in range(0, len(ordered), _AT_ONCE):
            self._ask(ordered[start : start + _AT_ONCE])

    def _ask(self, selectors: Sequence[str]) -> None:
        parts = [
            f'label_replace(count({selector}), "n", "{number}", "", "")'
            for number, selector in enumerate(selectors)
        ]
        try:
            samples = self._prometheus.instant_query(" or ".join(parts), at=self._at)
        except PrometheusError:
            if len(selectors) == 1:
                raise
            # One of them may be more than the server counts at once.
            for selector in selectors:
                self._ask([selector])
            return
        found = {int(sample.labels["n"]) for sample in samples if "n" in sample.labels}
        self._present |= {text: number in found for number, text in enumerate(selectors)}

    def lacking(self, text: str) -> Sequence[str]:
        """The selectors without which the expression selects nothing; empty if it selects."""
        expr = _parsed(text)
        if _selects(expr, self._has):
            return ()
        return [selector for selector in dict.fromkeys(_selectors(expr)) if not self._has(selector)]

    def _has(self, selector: str) -> bool:
        return self._present.get(selector, False)


def _parsed(text: str) -> Any:
    try:
        return parse(text)
    except PromqlError:
        # Prometheus has loaded the rule: its language may be newer than the parser.
        return None


def _selects(expr: Any, has: Callable[[str], bool]) -> bool:
    match expr:
        case VectorSelector():
            selects = has(_text(expr))
        case MatrixSelector():
            selects = has(_text(expr.vector_selector))
        case BinaryExpr() if str(expr.op) == "or":
            selects = _selects(expr.lhs, has) or _selects(expr.rhs, has)
        case BinaryExpr() if str(expr.op) == "unless":
            selects = _selects(expr.lhs, has)
        case BinaryExpr():
            selects = _selects(expr.lhs, has) and _selects(expr.rhs, has)
        case Call() if expr.func.name in _OF_NOTHING:
            selects = True
        case Call():
            selects = all(_selects(argument, has) for argument in expr.args)
        case AggregateExpr() | ParenExpr() | UnaryExpr() | SubqueryExpr():
            selects = _selects(expr.expr, has)
        case _:
            selects = True
    return selects


def _selectors(expr: Any) -> Iterator[str]:
    match expr:
        case VectorSelector():
            yield _text(expr)
        case MatrixSelector():
            yield _text(expr.vector_selector)
        case BinaryExpr():
            yield from _selectors(expr.lhs)
            yield from _selectors(expr.rhs)
        case Call():
            for argument in expr.args:
                yield from _selectors(argument)
        case AggregateExpr() | ParenExpr() | UnaryExpr() | SubqueryExpr():
            yield from _selectors(expr.expr)


def _text(selector: VectorSelector) -> str:
    """The selector now, for any target: without offset, and without what a placeholder filled."""
    matchers = [
        f"{matcher.name}{_OPERATORS[str(matcher.op)]}{_quoted(matcher.value)}"
        for matcher in selector.matchers.matchers
        if matcher.value not in EXAMPLES.values()
    ]
    name = selector.name or ""
    return f"{name}{{{','.join(matchers)}}}" if matchers or not name else name


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
