"""The console script: its output, streams and exit status."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from actions.execution import kill_switch
from demo.stack.processes import Processes
from receiver.cli.main import main
from receiver.db.database import database
from tests.end_to_end.service_process import ROOT, Service, settings

_GOOD = (ROOT / "playbooks" / "high-cpu.yaml").read_text()
_PAYLOADS = sorted((ROOT / "tests" / "webhook" / "payloads").glob("*.json"))


# These set up the logging of their whole process.
_OWN_PROCESS = {"explain", "serve"}


def _run(*arguments: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run a command here, which spares its start, or in its own process where it needs one."""
    if arguments and arguments[0] in _OWN_PROCESS:
        return _run_apart(*arguments, env=env)
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        if env is not None:
            for name in os.environ.keys() - env.keys():
                patch.delenv(name)
            for name, value in env.items():
                patch.setenv(name, value)
        try:
            main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def _run_apart(
    *arguments: str, env: Mapping[str, str] | None = None, text: str = ""
) -> CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments],
        env=env or dict(os.environ),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _one_line(ran: CompletedProcess[str], code: int) -> str:
    assert ran.returncode == code, ran.stderr
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    return line


def test_the_shipped_playbooks_have_no_findings() -> None:
    """Without settings, network or credentials, and in a process of its own."""
    ran = _run_apart("check", env={"PATH": os.environ["PATH"]})
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "at", "expected"),
    [
        ("action: reboot_instance", "action: reboot_instanse", "instanse", "mean reboot_instance"),
        ('{desired: "+50%"}', "{}", "params", "desired"),
        ('{desired: "+50%"}', "{desired: much}", "much", "desired"),
        ('severity=~"warning|critical"', "severity ~ critical", "~ critical", "matcher"),
        ('severity=~"warning|critical"', 'severity=~"(("', "((", "severity"),
        ("not group.surging", "not group.surging_", "surging_", "mean surging"),
        ("cooldown: 5m", "cooldown: soon", "soon", "duration"),
        ("mode: auto", "mode: yes", "mode: yes", "mode"),
        ("mode: auto", "mode: auto\nmore: 1", "more: 1", "more"),
        ("mode: auto", "mode: auto\n\tx: 1", "\tx", "token"),
        ("name: high-cpu\n", "", "#", "name"),
        ("cooldown: 5m", "cooldown: 5m\ncooldown: 6m", "cooldown: 6m", "duplicate"),
        ("$members", "$group", "expr", "$members"),
    ],
)
def test_check_names_file_and_line_of_a_fault(
    tmp_path: Path, old: str, new: str, at: str, expected: str
) -> None:
    """And the fault, in one line."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    text = _GOOD.replace(old, new, 1)
    assert text != _GOOD
    line = next(n for n, row in enumerate(text.splitlines(), 1) if at in row)
    file = folder / "broken.yaml"
    file.write_text(text)
    first = _one_line(_run("check", str(folder)), 1)
    assert first.startswith(f"{file}:{line}: "), first
    assert expected in first


def test_check_names_what_a_recheck_lacks_of_its_rule(tmp_path: Path) -> None:
    """Exit 1, with the line of the re-check; the shipped playbooks and rules have no findings."""
    rules = str(ROOT / "prometheus_rules")
    shipped = _run("check", str(ROOT / "playbooks"), "--rules", rules)
    assert (shipped.returncode, shipped.stderr) == (0, "")
    file = tmp_path / "weak.yaml"
    file.write_text(
        'name: weak\nmatch: [alertname="SLOBurn"]\nrecheck:\n'
        '  - asg:service_error:ratio1m{asg="$asg"} > bool 14.4 * 0.005\n'
        "steps: [{action: set_desired_capacity, params: {desired: +1}}]\n"
    )
    line = _one_line(_run("check", str(tmp_path), "--rules", rules), 1)
    assert line.startswith(
        f"{file}:3: recheck: lacks this condition of the rule SLOBurn: asg:service_error:ratio5m"
    )


def test_serve_refuses_broken_playbooks_in_the_words_of_check(tmp_path: Path) -> None:
    """Every finding of check keeps the service from starting."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "broken.yaml").write_text(_GOOD.replace("reboot_instance", "format_disk"))
    env = settings(tmp_path, SMARTCLOUDOPS_PLAYBOOKS=str(folder))
    checked, served = _run("check", env=env), _run("serve", env=env)
    assert checked.returncode == served.returncode == 1
    assert "unknown action 'format_disk'" in checked.stderr == served.stderr


def test_every_fault_of_every_file_is_reported(tmp_path: Path) -> None:
    """A folder with two broken files, and one under the wrong name."""
    (tmp_path / "one.yaml").write_text("name: One\nmatch: []\nsteps: []\n")
    (tmp_path / "two.yaml").write_bytes(b"name: \xff\n")
    (tmp_path / "three.yml").write_text(_GOOD)
    ran = _run("check", str(tmp_path))
    files = [line.split(":")[0].rsplit("/", 1)[1] for line in ran.stderr.splitlines()]
    assert files == ["one.yaml", "one.yaml", "one.yaml", "three.yml", "two.yaml"]


@pytest.mark.parametrize("payload", _PAYLOADS, ids=lambda path: path.stem)
def test_explain_gives_a_decision_and_its_gates(tmp_path: Path, payload: Path) -> None:
    """For each alert of a real delivery, also where the service never ran."""
    env = settings(tmp_path, SMARTCLOUDOPS_MODE="auto")
    ran = _run("explain", "--json", str(payload), env=env)
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    assert len(answers) == len(json.loads(payload.read_text())["alerts"])
    for answer in answers:
        assert answer["decision"] == "refuse"
        assert answer["refusal"] in {"state_unknown", "resolved", "no_target"}
        assert answer["gates"][-1]["passed"] is False
    assert not (tmp_path / "state.db").exists()


def test_explain_says_why_a_target_is_not_confirmed(tmp_path: Path) -> None:
    """Without credentials nothing is known; the answer and stderr name the error."""
    env = {**settings(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    bare = {name: value for name, value in env.items() if "ACCESS_KEY" not in name}
    payload = tmp_path / "payload.json"
    labels = {"alertname": "InstanceDown", "instance_id": "i-0123456789abcdef0", "asg": "web-asg"}
    payload.write_text(json.dumps({"version": "4", "alerts": [{"labels": labels}]}))
    ran = _run("explain", str(payload), env=bare)
    assert "refuse state_unknown" in ran.stdout
    assert "AWS did not answer DescribeInstances: NoCredentialsError" in ran.stdout
    assert "NoCredentialsError" in ran.stderr


def test_explain_reads_the_services_own_records(tmp_path: Path) -> None:
    """A pause recorded there refuses here; nothing is changed."""
    env = settings(tmp_path)
    state = database(env["SMARTCLOUDOPS_DATABASE_URL"])
    state.migrate("state")
    with state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="alice", comment="stop", now=0)
    ran = _run("explain", str(_PAYLOADS[0]), env=env)
    assert "refuse paused" in ran.stdout
    assert "STOP  paused" in ran.stdout


def test_explain_reads_a_delivery_of_grafana_from_stdin(tmp_path: Path) -> None:
    alert = {"labels": {"alertname": "Nobody", "instance": "10.0.0.1"}}
    body = json.dumps({"version": "1", "alerts": [alert]})
    ran = _run_apart("explain", "-", env=settings(tmp_path), text=body)
    assert "Nobody no target: refuse no_playbook" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code"), [((), 2), (("-", "--firing"), 2), (("--firing",), 1)]
)
def test_explain_takes_one_source_of_alerts(
    tmp_path: Path, arguments: Sequence[str], code: int
) -> None:
    """What fires now is Alertmanager's to say, and nobody listens there."""
    env = settings(tmp_path, SMARTCLOUDOPS_ALERTMANAGER_URL="http://127.0.0.1:1")
    line = _one_line(_run_apart("explain", *arguments, env=env), code)
    assert "--firing" in line or "Alertmanager cannot be reached" in line


@pytest.mark.parametrize(
    ("body", "text"),
    [(None, "No such file"), ("{", "not JSON"), ('{"version": "3"}', "version 4")],
)
def test_explain_says_what_is_wrong_with_a_payload(
    tmp_path: Path, body: str | None, text: str
) -> None:
    """One line, exit 2."""
    file = tmp_path / "payload.json"
    if body is not None:
        file.write_text(body)
    assert text in _one_line(_run("explain", str(file), env=settings(tmp_path)), 2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SMARTCLOUDOPS_MODE", "reckless"),
        ("SMARTCLOUDOPS_PORT", "http"),
        ("SMARTCLOUDOPS_PROMETHEUS_URL", "prometheus-secret"),
        ("SMARTCLOUDOPS_EPISODE_GAP_S", "-1"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not(
    tmp_path: Path, variable: str, value: str
) -> None:
    """A value may hold a secret."""
    line = _one_line(_run("check", env=settings(tmp_path, **{variable: value})), 2)
    assert variable in line
    assert value not in line.replace(variable, "")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"SMARTCLOUDOPS_TOKENS_FILE": "/nowhere/tokens.json"}, "token create"),
        ({"SMARTCLOUDOPS_DATABASE_URL": "mysql://u:secret@h/d"}, "neither a SQLite"),
        ({"SMARTCLOUDOPS_DATABASE_URL": "no url"}, "cannot be parsed"),
    ],
)
def test_serve_names_in_one_line_why_it_cannot_start(
    tmp_path: Path, changed: dict[str, str], text: str
) -> None:
    """No traceback, no secret."""
    _run("token", "create", "--role", "admin", "--name", "a", env=settings(tmp_path))
    line = _one_line(_run("serve", env=settings(tmp_path, **changed)), 2)
    assert text in line
    assert "secret" not in line


@pytest.mark.parametrize("url", ["no url", "://secret"])
def test_explain_names_a_bad_database_url(tmp_path: Path, url: str) -> None:
    """In one line, without the URL."""
    env = settings(tmp_path, SMARTCLOUDOPS_DATABASE_URL=url)
    line = _one_line(_run("explain", str(_PAYLOADS[0]), env=env), 2)
    assert "the database URL cannot be parsed" in line
    assert "secret" not in line


def test_serve_without_a_region_says_so(tmp_path: Path) -> None:
    """With boto3's reason, in one line."""
    env = settings(tmp_path, AWS_CONFIG_FILE="/nowhere")
    _run("token", "create", "--role", "admin", "--name", "a", env=env)
    del env["AWS_DEFAULT_REGION"]
    assert "region" in _one_line(_run("serve", env=env), 2)


def test_a_second_service_on_the_same_file_is_refused(tmp_path: Path) -> None:
    """One process a SQLite file; a port in use is reported in one line, too."""
    with Processes(tmp_path / "logs") as processes:
        first = Service.make(tmp_path, processes)
        assert "another receiver" in _one_line(_run("serve", env=first.env), 2)
        other = tmp_path / "other"
        other.mkdir()
        port = first.url.rpartition(":")[2]
        env = settings(other, SMARTCLOUDOPS_PORT=port)
        _run("token", "create", "--role", "admin", "--name", "a", env=env)
        refused = _run("serve", env=env)
        assert refused.returncode != 0
        assert "address already in use" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    """The file is for its owner only; a name is given once."""
    env = settings(tmp_path)
    created = _run("token", "create", "--role", "viewer", "--name", "eve", env=env)
    secret = created.stdout.strip()
    file = tmp_path / "tokens.json"
    assert len(secret) >= 40
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    repeated = _run("token", "create", "--role", "admin", "--name", "eve", env=env)
    assert "already" in _one_line(repeated, 2)


def test_a_broken_audit_fails_the_check(tmp_path: Path) -> None:
    """A missing database is a failed check."""
    line = _one_line(_run("audit", "verify", env=settings(tmp_path)), 1)
    assert "cannot be read" in line


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("serve", "--fast"), ("explain",), ("token", "create")]
)
def test_a_usage_error_is_one_line(arguments: tuple[str, ...]) -> None:
    """Exit 2."""
    assert _one_line(_run(*arguments), 2).startswith("smartcloudops: ")


@pytest.mark.parametrize(
    "command", [(), ("serve",), ("check",), ("explain",), ("demo",), ("audit",), ("token",)]
)
def test_help_is_everywhere(command: tuple[str, ...]) -> None:
    """On standard output, exit 0."""
    ran = _run(*command, "--help")
    assert ran.returncode == 0
    assert "Usage: smartcloudops" in ran.stdout
