"""Generates the page of refusals, and the reasons, from the docstrings of guards and rules.

A docstring of a guard, or of a rule that guards use, has a section `## reason` for each reason that
it introduces: what it means, what to check, how to lift it. The source is only parsed, since the
enumeration of reasons may not exist yet.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

REFUSALS_PAGE, REASONS = Path("docs/refusals.md"), Path("actions/reasons.py")
# The modules that refuse, in the order of the page.
_SOURCES = (
    "receiver/decision/guards/*.py",
    "receiver/decision/*.py",
    "receiver/controls/limits.py",
    "actions/execution/rules.py",
    "receiver/workflow/dispatcher.py",
)
_REASONS = '''"""Why an alert is not acted on: one vocabulary for the guards and for the claim.

This module is generated from the docstrings of guards and rules (`make reference`).
"""

from enum import StrEnum


class Reason(StrEnum):
    """A closed set: each member has its paragraph in docs/refusals.md."""

'''
_HEAD = r"""# Refusals

A `refused` run names its reason in `refusal`. Each reason has a heading here, with its meaning,
what to check, and how to lift it. Commands that read need a token of the role `viewer`; the others
need the role `operator`. This page is generated from the docstrings of the guards
(`make reference`).

```console
$ export S=http://localhost:8080 P=http://localhost:9090
$ sed 's/^/Authorization: Bearer /' my-token > header && export H=@$PWD/header
```

**Start here:** read the run with every gate:

```console
$ curl -H "$H" $S/api/v1/runs/$RUN \
    | jq '{alert: .alert.labels, target, playbook, refusal, outcome, next_act_at, gates}'
```

This counts the last refusals by reason:

```console
$ curl -H "$H" "$S/api/v1/runs?state=refused&limit=200" \
    | jq '[.items[].refusal] | group_by(.) | map({(.[0]): length}) | add'
```

**A refusal is not final.** Alertmanager repeats a firing alert (`repeat_interval`, five minutes as
shipped). If time or a person can lift the reason, the service decides again on the first repeat
after `next_act_at`. What waited for the same time, such as a window's, is decided again one after
the other: of each severity at most five alerts a second. No one can override a guard. If it is
urgent, act by hand in AWS: the service sees the change and does not interfere.
"""


def reason_texts(root: Path) -> Mapping[str, str]:
    """The paragraph of each reason, in the order of the page.

    Raises ValueError where two docstrings describe the same reason.
    """
    texts: dict[str, str] = {}
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            for reason, text in _sections(ast.parse(path.read_text())):
                if reason in texts:
                    raise ValueError(f"{reason} is described twice; the second time in {path}")
                texts[reason] = text
    return texts


def refusals_page(root: Path) -> str:
    """The page, in Markdown."""
    sections = (f"## {reason}\n\n{text}\n" for reason, text in reason_texts(root).items())
    return "\n".join([_HEAD, *sections])


def reasons_module(root: Path) -> str:
    """The module with the enumeration, in Python."""
    members = (f'    {reason.upper()} = "{reason}"\n' for reason in reason_texts(root))
    return _REASONS + "".join(members)


def _sections(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.FunctionDef):
            text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
            _, *sections = f"\n{text}".split("\n## ")
            for section in sections:
                reason, _, paragraph = section.partition("\n")
                yield reason, paragraph.strip()
