"""Reads PromQL as a disjunction of conjunctions of terms."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from promql_parser import AggregateExpr, BinaryExpr, Call, NumberLiteral, ParenExpr

from receiver.playbooks.promql.measure import (
    Measure,
    MeasureReader,
    PromqlError,
    Scope,
    number_of,
)

# No real rule has as many alternatives; an expression with more is refused.
_ALTERNATIVES_MAX = 256
_COMPARISONS = frozenset({"==", "!=", ">", ">=", "<", "<="})
_REVERSED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
_SETS = frozenset({"and", "or", "unless"})
_WRAPPERS = frozenset({"sort", "sort_desc", "scalar", "vector", "label_replace"})


@dataclass(frozen=True)
class Term:
    """A condition on a measure; without `op`, the condition that the measure has a value."""

    measure: Measure
    scope: Scope
    op: str | None = None
    value: Measure | float | None = None
    negated: bool = False
    text: str = field(default="", compare=False)

    def implies(self, other: "Term") -> bool:
        """Whether this term implies the other, as far as the syntax shows."""
        if (self.measure, self.scope, self.negated) != (other.measure, other.scope, other.negated):
            return False
        if self.negated or (self.op, self.value) == (other.op, other.value):
            return (self.op, self.value) == (other.op, other.value)
        if other.op is None:
            return True
        if not isinstance(self.value, float) or not isinstance(other.value, float):
            return False
        return _implied(self.op or "", self.value, other.op, other.value)


def _implied(op: str, value: float, other: str, bound: float) -> bool:
    """Whether `x op value` implies `x other bound`."""
    match other:
        case ">":
            return (op == ">" and value >= bound) or (op in {"==", ">="} and value > bound)
        case ">=":
            return op in {"==", ">=", ">"} and value >= bound
        case "<":
            return (op == "<" and value <= bound) or (op in {"==", "<="} and value < bound)
        case "<=":
            return op in {"==", "<=", "<"} and value <= bound
        case "!=":
            return _implied(op, value, ">", bound) or _implied(op, value, "<", bound)
    return False


Alternatives: TypeAlias = list[frozenset[Term]]


class TermReader(MeasureReader):
    """Reads the terms of conditions."""

    def alternatives(self, expr: Any) -> Alternatives:
        """The conjunctions, one of which holds if the expression is true. Raises PromqlError."""
        match expr:
            case ParenExpr():
                result = self.alternatives(expr.expr)
            case NumberLiteral():
                result = [frozenset[Term]()] if expr.val else []
            case BinaryExpr():
                result = self._of_operator(expr)
            case AggregateExpr() if _is_condition(expr.expr):
                result = self.alternatives(expr.expr)
            case Call() if expr.func.name == "absent":
                result = _negate(self.alternatives(expr.args[0]))
            case Call() if expr.func.name in _WRAPPERS:
                result = self.alternatives(expr.args[0])
            case _:
                result = [frozenset({self._term(expr, expr)})]
        return result

    def _of_operator(self, expr: BinaryExpr) -> Alternatives:
        match str(expr.op):
            case "and" | "*":
                result = either_with(self.alternatives(expr.lhs), self.alternatives(expr.rhs))
            case "or":
                result = [*self.alternatives(expr.lhs), *self.alternatives(expr.rhs)]
            case "unless":
                negated = _negate(self.alternatives(expr.rhs))
                result = either_with(self.alternatives(expr.lhs), negated)
            case "+" if _is_condition(expr.lhs):
                result = self._of_sum(expr)
            case ">" if number_of(expr.rhs) == 0 and _is_count(expr.lhs):
                # `count(x) > 0` means that x has a value.
                result = self.alternatives(_bare(expr.lhs).expr)
            case op if op in _COMPARISONS:
                result = [frozenset({self._comparison(expr, op)})]
            case _:
                result = [frozenset({self._term(expr, expr)})]
        return result

    def _of_sum(self, expr: BinaryExpr) -> Alternatives:
        """`(x == 0) + 1` is the filter alone; `(x == bool 0) + 1` is always true."""
        if number_of(expr.rhs) is None:
            return [*self.alternatives(expr.lhs), *self.alternatives(expr.rhs)]
        return [frozenset()] if _returns_bool(expr.lhs) else self.alternatives(expr.lhs)

    def _comparison(self, expr: BinaryExpr, op: str) -> Term:
        lhs, rhs = expr.lhs, expr.rhs
        if number_of(lhs) is not None:
            lhs, rhs, op = rhs, lhs, _REVERSED.get(op, op)
        value = number_of(rhs)
        compared = value if value is not None else self.measure(rhs)
        return replace(self._term(lhs, expr), op=op, value=compared)

    def _term(self, expr: Any, whole: Any) -> Term:
        text = " ".join(whole.prettify().split())
        return Term(measure=self.measure(expr), scope=self.scope(expr), text=text)


def either_with(left: Alternatives, right: Alternatives) -> Alternatives:
    """Each alternative of `left` combined with each of `right`. Raises PromqlError."""
    if len(left) * len(right) > _ALTERNATIVES_MAX:
        raise PromqlError("has too many alternatives to compare: use fewer `or`")
    return [terms | more for terms in left for more in right]


def _negate(alternatives: Alternatives) -> Alternatives:
    result: Alternatives = [frozenset()]
    for terms in alternatives:
        options = [
            frozenset({replace(term, negated=not term.negated, text=f"unless {term.text}")})
            for term in terms
        ]
        result = either_with(result, options)
    return result


def _bare(expr: Any) -> Any:
    return _bare(expr.expr) if isinstance(expr, ParenExpr) else expr


def _is_count(expr: Any) -> bool:
    bare = _bare(expr)
    return isinstance(bare, AggregateExpr) and str(bare.op) == "count"


def _is_condition(expr: Any) -> bool:
    match expr:
        case ParenExpr() | AggregateExpr():
            return _is_condition(expr.expr)
        case BinaryExpr():
            compares = str(expr.op) in _COMPARISONS | _SETS
            return compares or _is_condition(expr.lhs) or _is_condition(expr.rhs)
    return False


def _returns_bool(expr: Any) -> bool:
    match expr:
        case ParenExpr() | AggregateExpr():
            return _returns_bool(expr.expr)
        case BinaryExpr():
            own = bool(expr.modifier and expr.modifier.return_bool)
            return own or _returns_bool(expr.lhs) or _returns_bool(expr.rhs)
    return False
