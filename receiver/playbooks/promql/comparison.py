"""A condition taken apart for a plot: what it measures, and the bound that it is held against."""

from dataclasses import dataclass

from promql_parser import BinaryExpr, ParenExpr

from receiver.playbooks.promql.measure import PromqlError, number_of, parse

_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`measured` is the expression whose values are compared; without a bound, the condition."""

    measured: str
    op: str = ""
    bound: float | None = None


def comparison_of(condition: str) -> Comparison:
    """The outermost comparison with a number; otherwise the whole condition."""
    try:
        expr = parse(condition)
    except PromqlError:
        return Comparison(measured=condition)
    while isinstance(expr, ParenExpr):
        expr = expr.expr
    if not isinstance(expr, BinaryExpr) or str(expr.op) not in _COMPARISONS:
        return Comparison(measured=condition)
    bound = number_of(expr.rhs)
    if bound is None:
        return Comparison(measured=condition)
    return Comparison(measured=expr.lhs.prettify(), op=str(expr.op), bound=bound)
