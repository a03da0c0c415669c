"""Every line of the documents that calls the service is run against a real one, and succeeds."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from receiver.http.access.callers import Role
from receiver.http.access.sessions import session_id
from receiver.webhook.sns.message import parse_message
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.webhook.sns_fixtures import TOPIC, Sns

_ROOT = Path(__file__).parents[2]
_HERE = "localhost:8080"
_KEYS = {"$RUN": "run_id", "$OVERRIDE": "override_id", "$INSTANCE": "target", "$PLAYBOOK": "name"}
_KEYS |= {"$CAPTURE": "name", "$SUBSCRIPTION": "subscription_id"}
_KEYS |= {"$SESSION": "session_id", "$PERSON": "person"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("curl")) as service:
        # The lines that list refused runs need one.
        service.hold(GROUP)
        service.until(service.start("acting", HOSTS[4])["id"], "refused")
        service.forget()
        yield service


@pytest.fixture(scope="module")
def folder(service: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, with the files from which curl reads tokens."""
    folder = tmp_path_factory.mktemp("reader")
    for name, role in (("", Role.OPERATOR), ("admin-", Role.ADMIN), ("webhook-", Role.WEBHOOK)):
        (folder / f"{name}header").write_text(f"Authorization: Bearer {service.tokens[role]}\n")
    login = f'user = "webhook:{service.tokens[Role.WEBHOOK]}"\n'
    (folder / "webhook-login").write_text(login)
    return folder


def _lines(page: str) -> list[str]:
    """The commands of a page, each with the lines it goes on in."""
    text = (_ROOT / page).read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    command = re.compile(r"^\$ (curl .*?)(?=^\$|\Z)", re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in command.findall(block)]


_ALL = [
    (page, line)
    for page in ("docs/api.md", "README.md", "docs/rollout.md")
    for line in _lines(page)
]
# Prometheus and Alertmanager are not here.
_AT_NIGHT = [
    (page, line)
    for page in ("docs/refusals.md", "docs/runbooks.md")
    for line in _lines(page)
    if "$S/" in line
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("page", "line"), _ALL, ids=[f"{p}-{n}" for n, (p, _) in enumerate(_ALL)])
def test_a_curl_line_works_as_it_stands(service: Live, folder: Path, page: str, line: str) -> None:
    """With nothing but the address, the tokens and the ids of this service put in."""
    del page
    answer = _output(service, folder, line.replace(_HERE, service.url.removeprefix("http://")))
    if "metrics" not in line:
        json.loads(answer)


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "jq"))), reason="curl or jq is missing")
@pytest.mark.parametrize(
    ("page", "line"), _AT_NIGHT, ids=[f"{p}-{n}" for n, (p, _) in enumerate(_AT_NIGHT)]
)
def test_a_line_that_is_copied_at_night_works(
    service: Live, folder: Path, page: str, line: str
) -> None:
    """Of the refusals and the runbooks, with its pipe; it picks what the answers have."""
    del page
    assert _output(service, folder, line).strip() != "null"
    picked = re.findall(
        r"[{,] (?:\w+: \.)?(\w+)(?=[,}. ])", line.replace("{", "{ ").partition("jq")[2]
    )
    schemas = service.call("GET", "/openapi.json").json()["components"]["schemas"].values()
    assert set(picked) <= {name for schema in schemas for name in schema.get("properties", ())}


def _output(service: Live, folder: Path, line: str) -> str:
    command = re.sub(r"\bcurl ", "curl -sS --fail-with-body ", line)
    with _topics(line):
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 whichever there is
            cwd=folder,
            env={**os.environ, **_variables(service, line)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert result.returncode == 0, (line, result.stdout, result.stderr)
    return result.stdout


@contextmanager
def _topics(line: str) -> Iterator[None]:
    """Moto's SNS with the topic, for the line that confirms a subscription to it."""
    if "$SUBSCRIPTION" not in line:
        yield
        return
    with mock_aws():
        boto3.client("sns", region_name=TOPIC.split(":")[3]).create_topic(Name="alerts")
        yield


@pytest.mark.parametrize("page", [*(_ROOT / "docs").glob("*.md"), _ROOT / "README.md"], ids=str)
def test_no_command_has_a_token_as_an_argument(page: Path) -> None:
    """Every user of a machine sees the arguments of its processes."""
    for block in re.findall(r"```(?:console|sh)\n(.*?)```", page.read_text(), re.DOTALL):
        assert not re.findall(r"Bearer \$|\$\{?\w*TOKEN|\$\(cat ", block)


def test_every_call_has_its_curl_line(service: Live) -> None:
    """Of the API's page: none is only described."""
    paths = service.call("GET", "/openapi.json").json()["paths"]
    calls = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    shown = set()
    for page, line in _ALL:
        method = "DELETE" if "-X DELETE" in line else "POST" if " -d " in line else "GET"
        path = line.rpartition(_HERE)[2].split("?")[0].strip().strip("'\"")
        for name, key in _KEYS.items():
            path = path.replace(name, f"{{{key}}}")
        if page == "docs/api.md":
            shown.add((method, path))
    # A chat, and Amazon SNS, sign what they send; a line to copy would be refused.
    signed = ("/chat/", "/webhook/sns")
    assert shown == {(method, path) for method, path in calls if not path.startswith(signed)}


def _variables(service: Live, line: str) -> dict[str, str]:
    """What a reader would put in."""
    variables = {
        "S": service.url,
        "H": "@header",
        "STATE": "verifying",
        "PLAYBOOK": "acting",
        "INSTANCE": HOSTS[0],
    }
    if "$RUN" in line:
        variables["RUN"] = _run(service, line)
    if "$PLAN" in line:
        story = service.call("GET", f"/api/v1/runs/{variables['RUN']}", Role.VIEWER).json()
        variables["PLAN"] = story["plan"]["digest"]
    if "$CAPTURE" in line:
        story = service.until(variables["RUN"], "succeeded")
        variables["CAPTURE"] = story["captures"][0]["objects"][0]["name"]
    if "$SUBSCRIPTION" in line:
        message = parse_message(json.dumps(Sns().confirmation()).encode())
        service.system.subscriptions.record(message)
        variables["SUBSCRIPTION"] = message.id
    if "$SESSION" in line or "$PERSON" in line:
        token = service.application.state.tokens.find(service.tokens[Role.OPERATOR])
        secret = service.application.state.sessions.open(token.caller, "")
        variables |= {"SESSION": session_id(secret), "PERSON": token.name}
    if "$OVERRIDE" in line:
        variables["OVERRIDE"] = service.hold("other")["id"]
    if "cooldowns/" in line:
        service.forget()
        service.until(service.start("acting", HOSTS[0])["id"], "succeeded")
    return variables


def _run(service: Live, line: str) -> str:
    """A run in the state that the line is for."""
    service.forget()
    if any(verb in line for verb in ("/approve", "/deny", "/cancel")):
        return str(service.asking(HOSTS[1])["id"])
    if "/rollback" in line:
        return str(service.until(service.start("growing", GROUP)["id"], "verifying")["id"])
    dry_run = "/captures/" not in line
    return str(service.start("acting", HOSTS[3], dry_run=dry_run)["id"])
