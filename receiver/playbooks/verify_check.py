"""Warns of a `verify` that cannot be false: a filter without `bool` then has no data at all."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from promql_parser import AggregateExpr, BinaryExpr, ParenExpr

from receiver.playbooks.loader import Finding, load_file
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.promql.measure import PromqlError, parse
from receiver.playbooks.schema import Playbook, Verify

_COMPARISONS = frozenset({"==", "!=", ">", ">=", "<", "<="})


def warn_of_filters(folder: Path) -> Sequence[Finding]:
    """A warning for each such condition of the folder. Faulty playbooks are left out."""
    warnings = []
    for path in sorted(folder.glob("*.yaml")):
        playbook, lines, _ = load_file(path)
        for where, verify in _verifications(playbook) if playbook else ():
            for key, text in (("expr", verify.expr), ("worse", verify.worse)):
                if text is not None and (message := _fault(text)):
                    line = lines.of((*where, key))
                    warnings.append(Finding(file=path, line=line, message=f"{key}: {message}"))
    return warnings


def _verifications(playbook: Playbook) -> Iterator[tuple[tuple[str | int, ...], Verify]]:
    if playbook.verify is not None:
        yield ("verify",), playbook.verify
    for number, step in enumerate(playbook.steps):
        if step.verify is not None:
            yield ("steps", number, "verify"), step.verify


def _fault(text: str) -> str:
    try:
        expr = parse(str(render(text, EXAMPLES)))
    except PromqlError as error:
        return str(error)
    if _filters(expr):
        return "without `bool` a false comparison returns no data, which is unknown"
    return ""


def _filters(expr: Any) -> bool:
    """Whether a comparison drops the series that fail it; in a function, that may be wanted."""
    match expr:
        case ParenExpr() | AggregateExpr():
            return _filters(expr.expr)
        case BinaryExpr() if str(expr.op) in _COMPARISONS:
            return not (expr.modifier and expr.modifier.return_bool)
        case BinaryExpr():
            return _filters(expr.lhs) or _filters(expr.rhs)
    return False
