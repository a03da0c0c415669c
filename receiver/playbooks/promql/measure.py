"""The measure and the scope of a PromQL expression.

Only the syntax is compared: two expressions measure the same if metric, matchers, functions and
window are equal. A window of up to a minute counts as now.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeAlias

import promql_parser
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from receiver.playbooks.placeholders import EXAMPLES

_NOW_S = 60.0
# Over the series of a single instance these return the same value.
_FOLDS = frozenset({"sum", "min", "max", "avg", "group"})
_OVER_TIME = frozenset({"avg_over_time", "max_over_time", "min_over_time", "last_over_time"})
# Labels that identify the target of a series, not the measure.
_PLACES = frozenset({"instance_id", "instance", "asg", "az", "region"})
_HOSTS = frozenset({"instance_id", "instance"})
Measure: TypeAlias = tuple[Any, ...]


class PromqlError(ValueError):
    """The text is not PromQL, or longer than can be compared."""


class Scope(StrEnum):
    """The targets whose values an expression reads, the narrowest scope first."""

    INSTANCE = "instance"
    GROUP = "group"
    FLEET = "fleet"


def parse(text: str) -> Any:
    """Parse the expression. Raises PromqlError."""
    try:
        return promql_parser.parse(text)
    except ValueError as error:
        raise PromqlError(f"not PromQL: {' '.join(str(error).split())[:200]}") from None


def metric_names(expr: Any) -> set[str]:
    """Metrics and records that an expression reads."""
    return {node.name for node in selectors(expr) if node.name}


def number_of(expr: Any) -> float | None:
    """The value of an expression that consists of numbers."""
    match expr:
        case NumberLiteral():
            return float(expr.val)
        case ParenExpr():
            return number_of(expr.expr)
        case UnaryExpr():
            inner = number_of(expr.expr)
            return None if inner is None else -inner
        case BinaryExpr():
            return _computed(str(expr.op), number_of(expr.lhs), number_of(expr.rhs))
    return None


def _computed(op: str, left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (op == "/" and not right):
        return None
    results = {"+": left + right, "-": left - right, "*": left * right}
    return left / right if op == "/" else results.get(op)


def selectors(expr: Any) -> Iterator[VectorSelector]:
    """Every selector of the expression."""
    match expr:
        case VectorSelector():
            yield expr
        case MatrixSelector():
            yield expr.vector_selector
        case BinaryExpr():
            yield from selectors(expr.lhs)
            yield from selectors(expr.rhs)
        case Call():
            for argument in expr.args:
                yield from selectors(argument)
        case AggregateExpr() | ParenExpr() | SubqueryExpr() | UnaryExpr():
            yield from selectors(expr.expr)


@dataclass(frozen=True, kw_only=True)
class MeasureReader:
    """Reads expressions of alert rules, or of a playbook with example targets.

    `records` are the scopes of recorded metrics.
    """

    records: Mapping[str, Scope]
    of_rule: bool

    def scope(self, expr: Any) -> Scope:
        """The narrowest scope of the expression's parts."""
        match expr:
            case VectorSelector():
                scope = self._scope_of_selector(expr)
            case MatrixSelector():
                scope = self._scope_of_selector(expr.vector_selector)
            case AggregateExpr() if self.of_rule:
                scope = self._scope_of_aggregation(expr)
            case BinaryExpr():
                scope = self._narrowest(expr.lhs, expr.rhs)
            case Call():
                scope = self._narrowest(*expr.args)
            case AggregateExpr() | ParenExpr() | SubqueryExpr() | UnaryExpr():
                scope = self.scope(expr.expr)
            case _:
                scope = Scope.FLEET
        return scope

    def _narrowest(self, *parts: Any) -> Scope:
        scopes = [self.scope(part) for part in parts if metric_names(part)]
        return min(scopes, key=list(Scope).index, default=Scope.FLEET)

    def _scope_of_selector(self, selector: VectorSelector) -> Scope:
        if self.of_rule:
            return self.records.get(selector.name or "", Scope.INSTANCE)
        exact = {
            matcher.name: matcher.value
            for matcher in selector.matchers.matchers
            if matcher.op == MatchOp.Equal
        }
        if exact.get("instance_id") == EXAMPLES["instance_id"]:
            return Scope.INSTANCE
        return Scope.GROUP if exact.get("asg") == EXAMPLES["asg"] else Scope.FLEET

    def _scope_of_aggregation(self, expr: AggregateExpr) -> Scope:
        labels = set(expr.modifier.labels) if expr.modifier else set[str]()
        without = expr.modifier is not None and expr.modifier.type == AggModifierType.Without
        by_host = not labels & _HOSTS if without else bool(labels & _HOSTS)
        if by_host:
            return self.scope(expr.expr)
        by_group = "asg" not in labels if without else "asg" in labels
        return Scope.GROUP if by_group else Scope.FLEET

    def measure(self, expr: Any) -> Measure:
        """The measure; it is equal for expressions that measure the same in their scope."""
        match expr:
            case VectorSelector():
                measure = _series(expr, 0.0)
            case MatrixSelector():
                measure = _series(expr.vector_selector, expr.range.total_seconds())
            case ParenExpr():
                measure = self.measure(expr.expr)
            case AggregateExpr():
                measure = self._measure_of_aggregation(expr)
            case Call():
                measure = self._measure_of_call(expr)
            case BinaryExpr():
                measure = (str(expr.op), self.measure(expr.lhs), self.measure(expr.rhs))
            case SubqueryExpr():
                measure = ("subquery", _seconds(expr.range), self.measure(expr.expr))
            case UnaryExpr():
                measure = ("-", self.measure(expr.expr))
            case _:
                measure = ("text", expr.prettify())
        number = number_of(expr)
        return measure if number is None else ("number", number)

    def _measure_of_aggregation(self, expr: AggregateExpr) -> Measure:
        inner, op = self.measure(expr.expr), str(expr.op)
        return inner if op in _FOLDS and self._has_one_series(expr) else (op, inner)

    def _measure_of_call(self, expr: Call) -> Measure:
        arguments = tuple(map(self.measure, expr.args))
        name = "rate" if expr.func.name == "irate" else expr.func.name
        window = expr.args[0].range if _is_range(expr) else None
        is_now = name in _OVER_TIME and window is not None and _seconds(window) <= _NOW_S
        return arguments[0] if is_now else (name, *arguments)

    def _has_one_series(self, expr: AggregateExpr) -> bool:
        """Whether the expression aggregates one instance's series, or one record of a group."""
        if self.of_rule:
            return self.scope(expr) == self.scope(expr.expr)
        scopes = {self.records.get(name) for name in metric_names(expr.expr)}
        return self.scope(expr.expr) is Scope.INSTANCE or scopes == {Scope.GROUP}


def _is_range(expr: Call) -> bool:
    return bool(expr.args) and isinstance(expr.args[0], MatrixSelector)


def _series(selector: VectorSelector, window_s: float) -> Measure:
    matchers = sorted(
        (matcher.name, str(matcher.op), matcher.value)
        for matcher in selector.matchers.matchers
        if matcher.name not in _PLACES
    )
    window = window_s if window_s > _NOW_S else 0.0
    return ("series", selector.name, tuple(matchers), window, _seconds(selector.offset))


def _seconds(duration: timedelta | None) -> float:
    return duration.total_seconds() if duration else 0.0
