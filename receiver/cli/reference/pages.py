"""Pages generated from docstrings: the settings, the packages, and the calls of the API."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic.fields import FieldInfo

from receiver.api import (
    arming,
    audit,
    changes,
    control,
    cooldowns,
    debts,
    health,
    model,
    overrides,
    reports,
    runs,
    sessions,
    sns,
)
from receiver.chat import endpoint as chat
from receiver.http.access.auth import ROLE
from receiver.playbooks.loader import load
from receiver.playbooks.public_alerts import public_alerts
from receiver.playbooks.schema import Playbook
from receiver.settings import Settings
from receiver.webhook import routes as webhook

SETTINGS_PAGE, PACKAGES_PAGE = Path("docs/settings.md"), Path("docs/packages.md")
CALLS_PAGE, PUBLIC_PAGE = Path("docs/api-calls.md"), Path("docs/public-rules.md")
_ROUTED = (
    webhook,
    runs,
    control,
    cooldowns,
    debts,
    changes,
    overrides,
    arming,
    sessions,
    sns,
    model,
    audit,
    reports,
    chat,
    health,
)
_BY_PROFILE = frozenset({"arming_required", "arming_evidence"})
_TOPS: Mapping[str, str] = MappingProxyType(
    {
        "receiver": "the service",
        "actions": "the effects",
        "models": "the re-check",
        "demo": "`make demo`",
        "backtest": "`smartcloudops backtest`",
        "bench": "`make bench`, `make chaos`, `make soak`",
        "dashboards": "`make dashboards`",
    }
)
_SETTINGS_HEAD = """# Settings

This page is generated from `receiver/settings.py` (`make reference`). All settings are environment
variables. The service finds AWS credentials, the region and `AWS_ENDPOINT_URL` as every boto3
program does. [Configuration](configuration.md) explains tokens, notifications, retention and logs.

| variable | default | meaning |
|---|---|---|
"""
_PACKAGES_HEAD = """# Packages

This page is generated from the first line of each package (`make reference`). `tests/` has the same
folders, with `tests/end_to_end/`, `tests/deploy/` and `tests/docs/`.
"""
_PUBLIC_HEAD = """# Public rules

This page is generated from the shipped playbooks and `receiver/playbooks/public_alerts.yaml` (`make
reference`). Let Alertmanager's route list these names: public rules have no label `remediation`.

By `make bench-rules RULES=FOLDER`, each of the 82 rules (of 87) that fired on a broken host found
this host, and none another: with `instance` as address, DNS name, id or tag, at 15 and 30 s.
"""
_CALLS_HEAD = """# Calls of the API

This page is generated from the routes (`make reference`). [The API](api.md) has a command to copy
for each.

| call | role | what it does |
|---|---|---|
"""


def settings_page() -> str:
    """The page, in Markdown, one row a setting."""
    rows = (
        f"| `SMARTCLOUDOPS_{name.upper()}` | {_default(name, setting)} | {_one_line(setting)} |\n"
        for name, setting in sorted(Settings.model_fields.items())
    )
    return _SETTINGS_HEAD + "".join(rows)


def packages_page(root: Path) -> str:
    """The page, in Markdown, one row a package below the root."""
    return _PACKAGES_HEAD + "".join(
        f"\n## {top}: {purpose}\n\n| package | what it holds |\n|---|---|\n"
        + "".join(_package_rows(root, top))
        for top, purpose in _TOPS.items()
    )


def calls_page() -> str:
    """The page, in Markdown, one row a call."""
    routes = [route for module in _ROUTED for route in module.router.routes]
    paths = get_openapi(title="", version="", routes=routes)["paths"]
    return _CALLS_HEAD + "".join(
        f"| `{method.upper()} {path}` | {call.get(ROLE, 'none')} | {_purpose(call)} |\n"
        for path, methods in paths.items()
        for method, call in methods.items()
    )


def public_page(root: Path) -> str:
    """The page, in Markdown: the playbook of each public alert, or why none is right."""
    public, playbooks = public_alerts(), load(root / "playbooks").items
    known = [name for names in public.sets.values() for name in names]
    sets = "".join(f"- {title}: {len(names)} alerts\n" for title, names in public.sets.items())
    matched = [
        (f"`{playbook.name}`", [name for name in known if _may_match(playbook, name)])
        for playbook in playbooks
    ]
    have = [(title, names) for title, names in matched if names]
    lack = [(reason.why, reason.alerts) for reason in public.reasons]
    tables = (("playbook", have), ("why there is no playbook", lack))
    return f"{_PUBLIC_HEAD}\n{sets}" + "".join(
        f"\n| {title} | alerts |\n|---|---|\n"
        + "".join(f"| {text} | {', '.join(names)} |\n" for text, names in rows)
        for title, rows in tables
    )


def _may_match(playbook: Playbook, alertname: str) -> bool:
    by_name = [matcher for matcher in playbook.match if matcher.name == "alertname"]
    return all(matcher.matches({"alertname": alertname}) for matcher in by_name)


def _purpose(call: Mapping[str, Any]) -> str:
    first_line = call["description"].partition("\n")[0]
    query = [field["name"] for field in call.get("parameters", ()) if field["in"] == "query"]
    names = ", ".join(f"`{name}`" for name in query)
    return f"{first_line} Query: {names}." if query else first_line


def _package_rows(root: Path, top: str) -> Iterator[str]:
    for init in sorted((root / top).rglob("__init__.py")):
        name = ".".join(init.parent.relative_to(root).parts)
        docstring = ast.get_docstring(ast.parse(init.read_text())) or ""
        yield f"| `{name}` | {docstring.partition(chr(10))[0]} |\n"


def _one_line(setting: FieldInfo) -> str:
    return " ".join((setting.description or "").split())


def _default(name: str, setting: FieldInfo) -> str:
    if name in _BY_PROFILE:
        return "by profile"
    if setting.default in (None, ""):
        return "none"
    text = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return f"`{str(text).rstrip('/')}`"
