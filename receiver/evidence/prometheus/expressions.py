"""What a PromQL expression reads: its present series, and how far back from now.

https://prometheus.io/docs/prometheus/latest/querying/functions
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    MatchOp,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from receiver.playbooks.promql.measure import parse, selectors

# A rate needs two samples: this many intervals hold them whenever the window begins.
_INTERVALS = 2.5
# Functions that read the last samples of their range only: how many intervals these span.
_LAST = {"irate": 1, "idelta": 1, "last_over_time": 0}
_TARGETS = frozenset({"instance_id", "instance", "asg"})
# The state of a rule that the server itself evaluates has no scrape.
_STATE = "ALERTS"
_WINDOW = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|\[\s*(\w+)\s*\]""")


def one_of(texts: Iterable[str]) -> str:
    """A regular expression in a PromQL string, without its quotes, for just these texts.

    https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals
    """
    return "|".join(sorted({_escaped(text) for text in texts}))


def _escaped(text: str) -> str:
    escaped = "".join(
        c if c.isalnum() or c in "_-" or not c.isascii() else f"\\\\{c}" for c in text
    )
    return escaped.replace('\\\\"', '\\\\\\"').replace("\n", "\\n")


def widen(expr: str, interval_s: float) -> str:
    """The expression with windows that hold two samples at this interval."""

    def widened(match: re.Match[str]) -> str:
        quoted, window = match.groups()
        least_s = _INTERVALS * interval_s
        if quoted or window_s(parse(f"x[{window}]")) >= least_s:
            return match[0]
        return f"[{least_s * 1000:.0f}ms]"

    return _WINDOW.sub(widened, expr)


def target_of(selector: VectorSelector) -> str:
    """The matchers that name a target, as text."""
    names = (matcher for matcher in selector.matchers.matchers if matcher.name in _TARGETS)
    signs = {str(MatchOp.Equal): "=", str(MatchOp.Re): "=~"}
    return ",".join(
        f"{matcher.name}{signs[str(matcher.op)]}{json.dumps(matcher.value)}"
        for matcher in names
        if str(matcher.op) in signs
    )


def narrowed(selector: VectorSelector, target: str) -> str:
    """The selector as text, of this target only: a record's own expression reads all of them."""
    text = str(selector.prettify())
    if not target:
        return text
    return f"{text[:-1]},{target}}}" if text.endswith("}") else f"{text}{{{target}}}"


def at_place(expr: str, group: str | None, where: str) -> str:
    """The expression with the matchers `where` beside each that selects this group by its name.

    Another account or region may have a group of the same name.
    """
    # A pattern of each group and place would be compiled for each decision.
    if not group or not where or group not in expr:
        return expr
    named = rf"""\basg\s*=~?\s*(["'`]){re.escape(group)}\1(?!,{re.escape(where)})"""
    return re.sub(named, lambda match: f"{match[0]},{where}", expr)


def current(expr: Any) -> Iterator[VectorSelector]:
    """The selectors of present samples; `offset` and `@` look into the past on purpose."""
    match expr:
        case VectorSelector():
            if expr.offset is None and expr.at is None and expr.name != _STATE:
                yield expr
        case MatrixSelector():
            yield from current(expr.vector_selector)
        case BinaryExpr():
            yield from current(expr.lhs)
            yield from current(expr.rhs)
        case Call():
            for argument in expr.args:
                yield from current(argument)
        case AggregateExpr() | ParenExpr() | SubqueryExpr() | UnaryExpr():
            yield from current(expr.expr)


def alerts(expr: Any) -> set[str]:
    """The names of the alerts whose state the expression reads."""
    return {
        matcher.value
        for selector in selectors(expr)
        if selector.name == _STATE
        for matcher in selector.matchers.matchers
        if matcher.name == "alertname" and matcher.op == MatchOp.Equal
    }


def window_s(expr: Any, interval_s: float = math.inf) -> float:
    """How far back the expression reads from now, in seconds, at this interval of samples."""
    match expr:
        case MatrixSelector():
            looks_back = any(True for _ in current(expr))
            return _seconds(expr.range) if looks_back else 0.0
        case SubqueryExpr():
            return _seconds(expr.range) + window_s(expr.expr, interval_s)
        case BinaryExpr():
            return max(window_s(expr.lhs, interval_s), window_s(expr.rhs, interval_s))
        case Call():
            longest = max((window_s(argument, interval_s) for argument in expr.args), default=0.0)
            spanned = _LAST.get(expr.func.name)
            return longest if spanned is None else min(longest, spanned and spanned * interval_s)
        case AggregateExpr() | ParenExpr() | UnaryExpr():
            return window_s(expr.expr, interval_s)
    return 0.0


def _seconds(duration: timedelta | None) -> float:
    return duration.total_seconds() if duration else 0.0
