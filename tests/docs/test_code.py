"""What the documents show in code type is there: commands, targets, files, settings, metrics."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import click
import pytest
from ruamel.yaml import YAML
from sqlalchemy import create_engine

from actions.execution import kill_switch
from actions.place import HOME
from demo.stack import tools
from receiver.cli.main import cli
from receiver.db.database import Database, database
from receiver.playbooks.loader import load
from receiver.service import Metrics
from receiver.settings import Settings
from receiver.watch.scores import Scores
from tests.actions.audit.audit_fixtures import fill
from tests.docs.pages import section

_ROOT = Path(__file__).parents[2]
_PAGES = [
    _ROOT / "README.md",
    *sorted((_ROOT / "docs").rglob("*.md")),
    *sorted((_ROOT / "deploy").rglob("README.md")),
]
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_FOLDERS = {path.name for path in _ROOT.iterdir() if path.is_dir()} - {"build", "data"}
_PACKAGES = ("receiver", "actions", "models", "demo", "backtest", "bench")
_COMMAND = re.compile(r"(?<![\w./-])smartcloudops ((?!smartcloudops)[a-z-].*)")

every_page = pytest.mark.parametrize("page", _PAGES, ids=lambda path: str(path.relative_to(_ROOT)))


def _blocks(page: Path, *kinds: str) -> list[str]:
    return _blocks_of(page.read_text(), *kinds)


def _blocks_of(text: str, *kinds: str) -> list[str]:
    return [block for kind, block in _BLOCK.findall(text) if kind in kinds]


def _spans(page: Path) -> list[str]:
    """What stands between single backticks."""
    return [
        " ".join(span.split())
        for span in re.findall(r"`([^`]+)`", _BLOCK.sub("", page.read_text()))
    ]


def _commands(texts: list[str]) -> Iterator[list[str]]:
    """The arguments of each `smartcloudops …` in these, up to where the shell takes over."""
    for text in texts:
        for line in _COMMAND.findall(text.replace("\\\n", " ")):
            (arguments, *_) = re.split(r"[)\s]*(?:[|&;<#]|\d?>)", line)
            yield shlex.split(re.sub(r"[\[\]…]|\.\.\.", "", arguments))


def _parse(arguments: list[str]) -> None:
    """As the program itself would, up to running anything. Raises click.UsageError."""
    command: click.Command = cli
    context = click.Context(cli, info_name="smartcloudops")
    rest = arguments
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, resolved, rest = command.resolve_command(context, rest)
        assert resolved is not None
        command = resolved
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, rest)


@every_page
def test_every_command_is_understood(page: Path) -> None:
    """Whatever a reader copies has options that there are, and all that it needs."""
    for arguments in _commands(_blocks(page, "console", "sh")):
        _parse(arguments)
    for arguments in _commands(_spans(page)):
        try:
            _parse(arguments)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            continue  # it is mentioned there, not shown


@every_page
def test_every_make_target_is_there(page: Path) -> None:
    """In lines to copy, and in sentences."""
    targets = set(re.findall(r"^([a-z-]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE))
    code = [*_spans(page), *_blocks(page, "console", "sh")]
    named = {name for text in code for name in re.findall(r"(?:^|\$ )make ([a-z-]+)", text)}
    assert named <= targets


@every_page
def test_every_file_is_there(page: Path) -> None:
    """By its path from the top, or by a pattern; a module by its dotted name."""
    for span in _spans(page):
        if re.fullmatch(r"[\w*.-]+(/[\w*.-]+)*/?", span) and span.split("/")[0] in _FOLDERS:
            assert list(_ROOT.glob(span)), span
        if re.fullmatch(rf"({'|'.join(_PACKAGES)})(\.\w+)+", span):
            resolve_name(span)


@every_page
def test_every_link_leads_to_a_heading(page: Path) -> None:
    """Of the page itself or another one."""
    for target, heading in re.findall(r"\]\(([^)#: ]*)#([^)]+)\)", page.read_text()):
        other = (page.parent / target) if target else page
        titles = re.findall(r"^#+ (.+)$", _BLOCK.sub("", other.read_text()), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert heading in anchors, f"{target}#{heading}"


@every_page
def test_every_setting_and_metric_is_there(page: Path) -> None:
    """None that was renamed, and none that never was."""
    text = page.read_text()
    settings = set(Settings.model_fields)
    assert {name.lower() for name in re.findall(r"SMARTCLOUDOPS_([A-Z_]+[A-Z])", text)} <= settings
    registered = (*Metrics(()).registry.collect(), *Scores().collect())
    families = [family.name for family in registered]
    metrics = {
        f"{name}{end}" for name in families for end in ("", "_total", "_bucket", "_sum", "_count")
    }
    for name in set(re.findall(r"\b(smartcloudops_\w+)", text)):
        assert name in metrics or name.removeprefix("smartcloudops_") in settings, name


@every_page
def test_every_block_of_data_can_be_read(page: Path, tmp_path: Path) -> None:
    """YAML and JSON parse; a whole playbook loads."""
    for text in _blocks(page, "json"):
        json.loads(text)
    for number, text in enumerate(_blocks(page, "yaml")):
        data = YAML(typ="safe").load(text)
        if isinstance(data, dict) and {"name", "match", "steps"} <= data.keys():
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / f"{data['name']}.yaml").write_text(text)
            assert [playbook.name for playbook in load(folder).items] == [data["name"]]


def _write_files(page: Path, folder: Path) -> None:
    """The blocks of a page that begin with a comment that names their file."""
    for text in _blocks(page, "yaml", "python"):
        if name := re.match(r"# (\w\S*/\S+)\n", text):
            file = folder / name[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def _run_commands(text: str, folder: Path, *paths: Path, **variables: str) -> str:
    """The output of the lines of the text's console blocks, run unchanged."""
    commands = re.sub(r"^\$ ", "", "".join(_blocks_of(text, "console")), flags=re.MULTILINE)
    path = ":".join(map(str, (*paths, Path(sys.executable).parent, os.environ["PATH"])))
    result = subprocess.run(
        ["bash", "-euc", commands],  # noqa: S607 whichever there is
        cwd=folder,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_way_from_an_alert_to_a_playbook_leads_there(tmp_path: Path) -> None:
    """The page's files under their names, then its commands, among the playbooks there are."""
    page = _ROOT / "docs" / "playbooks.md"
    for name in ("playbooks", "prometheus_rules"):
        shutil.copytree(_ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "promtool").symlink_to(tools.find("promtool"))
    _write_files(page, tmp_path)
    output = _run_commands(page.read_text(), tmp_path, tmp_path / "bin")
    yaml = YAML(typ="safe")
    tests = [
        case
        for file in (tmp_path / "playbooks" / "tests").glob("*.yaml")
        for case in yaml.load(file)["tests"]
    ]
    assert "1 rules found" in output
    assert f"{len(tests)} tests passed" in output
    assert "worker-stuck" in {playbook.name for playbook in load(tmp_path / "playbooks").items}


@pytest.mark.skipif(shutil.which("pg_restore") is None, reason="PostgreSQL's clients are not here")
def test_a_backup_that_is_restored_holds_and_is_paused(shared: Database, tmp_path: Path) -> None:
    """As the page says, on a real PostgreSQL."""
    fill(shared, 20)
    url = shared.engine.url.set(drivername="postgresql")
    shown = url.render_as_string(hide_password=False)
    admin = create_engine(shared.engine.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE restored")
    admin.dispose()
    restored = url.set(database="restored").render_as_string(hide_password=False)
    page = _ROOT / "docs" / "install.md"
    text = section(page, "Watch it") + section(page, "Back up and restore")
    output = _run_commands(text, tmp_path, URL=shown, RESTORED=restored)
    assert " audit " in output
    assert "20 records, the chain is intact" in output
    copy = database(restored)
    with copy.read() as connection:
        assert kill_switch.read_paused(connection, HOME)
    copy.engine.dispose()
