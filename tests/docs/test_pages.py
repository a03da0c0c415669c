"""The documents say what the code does: every refusal, setting, call and command is in them."""

import re
from pathlib import Path

import click
import pytest
from fastapi.routing import APIRoute
from ruamel.yaml import YAML

from actions.reasons import Reason
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
from receiver.chat import endpoint
from receiver.cli.main import cli
from receiver.cli.reference import pages, refusals
from receiver.http.access.auth import ROLE
from receiver.playbooks.loader import load
from receiver.settings import Settings
from receiver.webhook import routes as webhook

_ROOT = Path(__file__).parents[2]


def _page(name: str) -> str:
    return (_ROOT / "docs" / name).read_text()


def test_every_refusal_has_its_paragraph() -> None:
    """And no other; the page and the enumeration are generated from the code that refuses."""
    assert _page("refusals.md") == refusals.refusals_page(_ROOT)
    assert (_ROOT / refusals.REASONS).read_text() == refusals.reasons_module(_ROOT)
    assert set(re.findall(r"^## (\w+)$", _page("refusals.md"), re.MULTILINE)) == set(Reason)


def test_a_guard_can_refuse_for_a_reason_of_its_own(tmp_path: Path) -> None:
    """Its file, its line in order.py and its test are all that is written by hand."""
    folder = tmp_path / "receiver/decision/guards"
    folder.mkdir(parents=True)
    (folder / "calendar.py").write_text(
        'def guard():\n    """Why.\n\n    ## freeze\n\n    Nobody may act.\n    """\n'
    )
    assert refusals.reason_texts(tmp_path) == {"freeze": "Nobody may act."}
    assert refusals.refusals_page(tmp_path).endswith("## freeze\n\nNobody may act.\n")
    assert refusals.reasons_module(tmp_path).endswith('    FREEZE = "freeze"\n')
    (folder / "other.py").write_text('"""Why.\n\n## freeze\n\nAgain.\n"""\n')
    with pytest.raises(ValueError, match="freeze is described twice"):
        refusals.reason_texts(tmp_path)


def test_every_setting_is_described() -> None:
    """On a generated page, in the words of the code."""
    assert _page("settings.md") == pages.settings_page()
    assert all(setting.description for setting in Settings.model_fields.values())


def test_every_call_is_described_with_its_role() -> None:
    """On a generated page, and no other."""
    page = _page("api-calls.md")
    assert page == pages.calls_page()
    rows = re.findall(r"^\| `(\w+) (\S+)` \| (\w+) \|", page, re.MULTILINE)
    routes = {
        (method, route.path, (route.openapi_extra or {}).get(ROLE, "none"))
        for module in (
            webhook,
            runs,
            control,
            arming,
            cooldowns,
            debts,
            sessions,
            sns,
            changes,
            overrides,
            audit,
            reports,
            model,
            endpoint,
            health,
        )
        for route in module.router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    assert set(rows) == routes


def test_every_page_that_is_linked_is_there() -> None:
    """From the README and between the pages."""
    for page in [_ROOT / "README.md", *(_ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_playbook_of_the_page_loads(tmp_path: Path) -> None:
    """What a reader copies works."""
    (text,) = re.findall(
        r"```yaml\n(# yaml-language-server.*?)```", _page("playbooks.md"), re.DOTALL
    )
    (tmp_path / "memory.yaml").write_text(text)
    assert [playbook.name for playbook in load(tmp_path).items] == ["memory"]


def test_every_command_that_is_told_exists() -> None:
    """In the README's shell lines."""
    commands = set(re.findall(r"smartcloudops ([a-z-]+)", (_ROOT / "README.md").read_text()))
    assert commands <= set(cli.list_commands(click.Context(cli)))


def test_every_alert_has_its_runbook() -> None:
    """And no other; the alert itself points at the heading of its name."""
    groups = [
        group
        for path in (_ROOT / "prometheus_rules").glob("*.yml")
        for group in YAML(typ="safe").load(path)["groups"]
    ]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    named = [rule["alert"] for rule in alerts]
    assert len(named) == len(set(named))
    assert set(re.findall(r"^## (\w+)$", _page("runbooks.md"), re.MULTILINE)) == set(named)
    for rule in alerts:
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}")


def test_every_call_of_the_runbooks_exists() -> None:
    """At three in the morning a command is copied, not read."""
    named = set(re.findall(r"\$S(/[^\s\"?;|]*)", _page("runbooks.md")))
    paths = {
        re.sub(r"{\w+}", "$RUN", route.path)
        for module in (runs, control, arming, overrides, audit, model, health)
        for route in module.router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
    }
    assert named
    assert named <= paths


def test_every_package_has_its_line() -> None:
    """On a generated page; a package is a folder with an `__init__.py`."""
    page = _page("packages.md")
    assert page == pages.packages_page(_ROOT)
    listed = re.findall(r"^\| `([\w.]+)` \| \S", page, re.MULTILINE)
    folders = {init.parent.relative_to(_ROOT) for init in _ROOT.glob("[a-z]*/**/__init__.py")}
    packages = {".".join(folder.parts) for folder in folders if folder.parts[0] != "tests"}
    assert set(listed) == packages


def test_every_log_event_that_is_named_exists() -> None:
    """At three in the morning a log is searched by the name that a page gives."""
    code = "".join(path.read_text() for path in (_ROOT / "receiver").rglob("*.py"))
    for name in ("runbooks.md", "refusals.md"):
        for event in re.findall(r"log's `(\w+)`", _page(name)):
            assert f'"{event}"' in code, f"{name}: {event}"
