"""Text that others choose is matched in linear time: by RE2, or by a form that cannot backtrack.

Python's `re` backtracks and holds the interpreter's lock meanwhile: a path of 60 KB once stalled
the whole service for ten seconds.
"""

import ast
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_OWN = "the operator's own files and settings"
# Each use of `re`, and why it may stay. Those on text of others are tried below.
_USES: Mapping[str, str] = {
    "actions/assurance/cloudtrail.py": "a fixed word comes first",
    "actions/assurance/iam_policy.py": _OWN,
    "actions/assurance/role_check.py": "a role's ARN, from AWS",
    "actions/aws/context.py": "bounded runs from the beginning",
    "actions/aws/errors.py": "a code of AWS's error",
    "actions/aws/group_activities.py": "fixed words, in a message of AWS",
    "actions/aws/groups.py": "fullmatch of one class, bounded",
    "actions/aws/instances.py": "fullmatch of bounded runs",
    "actions/aws/tags.py": "a substitution of single characters",
    "actions/driver.py": "on statements of this service",
    "actions/aws/trail.py": "fixed words; a fixed character parts the runs",
    "actions/catalog/autoscaling/_capacity.py": _OWN,
    "actions/place.py": "a fixed character parts each run from the next",
    "receiver/console/login.py": "fullmatch of one class",
    "receiver/console/sso_login.py": "fullmatch of one class, bounded",
    "receiver/controls/silences.py": "fullmatch of bounded runs; digits end it",
    "receiver/cli/rules/adapt.py": _OWN,
    "receiver/cli/rules/command.py": _OWN,
    "receiver/evidence/prometheus/expressions.py": _OWN,
    "receiver/evidence/prometheus/freshness.py": _OWN,
    "receiver/decision/stored_plan.py": "fullmatch of one class; a boundary comes first",
    "receiver/evidence/roles/promql.py": "fullmatch of one class, bounded",
    "receiver/evidence/targets/mapping.py": "fullmatch of one class",
    "receiver/evidence/targets/readings.py": "a fixed character parts each run from the next",
    "receiver/evidence/targets/series.py": _OWN,
    "receiver/http/middleware.py": "fullmatch of one class, bounded",
    "receiver/http/root_path.py": "one character",
    "receiver/http/unicode_json.py": "bounded, after a fixed character",
    "receiver/notify/recipients.py": "a fixed word comes first",
    "receiver/playbook_testing/series.py": _OWN,
    "receiver/playbooks/conditions.py": _OWN,
    "receiver/durations.py": _OWN,
    "receiver/playbooks/field_types.py": _OWN,
    "receiver/playbooks/loader.py": _OWN,
    "receiver/playbooks/matchers.py": "fullmatch, possessive",
    "receiver/playbooks/yaml_source.py": _OWN,
    "receiver/reports/coverage.py": "a fixed word comes first",
    "receiver/track_record/habits.py": "a substitution of one class",
    "receiver/sso/people.py": "fullmatch of one class, bounded",
    "receiver/webhook/payload.py": "fullmatch of one class, bounded",
    "receiver/webhook/episodes.py": "fullmatch of one class",
    "receiver/webhook/sns/alarms.py": "a form of digits comes first",
    "receiver/webhook/sns/signature.py": "fullmatch, a fixed character parts the runs",
    "receiver/webhook/truncated.py": "fullmatch of one class",
    "receiver/workflow/health.py": _OWN,
}
_UNITS = (
    "a", "a.", "a-", "A", "1", " ", "\t", '"', "\\", '\\"', ",", "/", "//", "_", "x=", 'a="b",',
    'asg="', "asg ", "error=12", "i-", "us-east-", "smartcloudops-run/", "arn:aws:sts::", "=~ ",
)  # fmt: skip
_LENGTH = 1_000_000


def _uses() -> Iterator[str]:
    for folder in ("actions", "models", "receiver"):
        for file in sorted((_ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                    yield str(file.relative_to(_ROOT))


def test_every_use_of_re_is_listed() -> None:
    """A new one is RE2, or has a reason here."""
    assert set(_uses()) <= _USES.keys()


def _matches() -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Each compiled pattern on text of others, as its module uses it."""
    for file, reason in _USES.items():
        if reason == _OWN:
            continue
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        source = (_ROOT / file).read_text()
        for name, pattern in vars(module).items():
            if isinstance(pattern, re.Pattern):
                # A substitution searches.
                searches = f"{name}.search" in source or f"{name}.sub" in source
                method = "search" if searches else "fullmatch"
                yield f"{file}:{name}.{method}", _matcher(pattern, method)


def _matcher(pattern: "re.Pattern[Any]", method: str) -> Callable[[str], Any]:
    def match(text: str) -> Any:
        subject = text.encode() if isinstance(pattern.pattern, bytes) else text
        return getattr(pattern, method)(subject)

    return match


_MATCHES = dict(_matches())


@pytest.mark.parametrize("name", _MATCHES)
def test_a_long_text_is_read_once(name: str) -> None:
    """A quadratic form takes hours for a megabyte: the suite's time limit notices."""
    for unit in _UNITS:
        for end in ("", "!"):
            _MATCHES[name](unit * (_LENGTH // len(unit)) + end)
