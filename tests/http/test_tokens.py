"""Tokens: hashes on disk, expiry, and a file that is read again when it changes."""

import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.http.access import tokens
from receiver.http.access.tokens import PEOPLE_GRACE_S, Role, TokensError
from tests.conftest import Clock
from tests.end_to_end.service_process import settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "tokens.json"


def _run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "receiver", "token", *arguments],
        env=settings(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_only_hashes_are_kept_for_the_owner_alone(file: Path) -> None:
    """A copy of the file lets nobody in."""
    secret = tokens.create(file, Role.OPERATOR, "alice")
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    accepted = tokens.load(file)
    token = accepted.find(secret)
    assert token is not None
    assert (token.name, token.role) == ("alice", Role.OPERATOR)
    for wrong in ("", secret[:-1], secret + "x", token.sha256, "ä", "\udcff"):
        assert accepted.find(wrong) is None


def test_a_token_ends_with_its_time(file: Path, clock: Clock) -> None:
    """To the second, without anybody doing anything."""
    secret = tokens.create(file, Role.VIEWER, "alice", expires_at=clock.now + 60)
    accepted = tokens.load(file, clock=clock, monotonic=clock)
    clock.now += 59
    assert accepted.find(secret) is not None
    clock.now += 1
    assert accepted.find(secret) is None


def test_what_changes_in_the_file_counts_within_a_second(file: Path, clock: Clock) -> None:
    """A new token lets in, a revoked one no more; the last one as well."""
    first = tokens.create(file, Role.OPERATOR, "alice")
    accepted = tokens.load(file, clock=clock, monotonic=clock)
    second = tokens.create(file, Role.OPERATOR, "alice-2")
    clock.now += 1
    assert accepted.find(second) is not None
    tokens.revoke(file, "alice")
    clock.now += 1
    assert accepted.find(first) is None
    assert accepted.find(second) is not None
    tokens.revoke(file, "alice-2")
    clock.now += 1
    assert accepted.find(second) is None
    with pytest.raises(TokensError, match="no token named bob"):
        tokens.revoke(file, "bob")


def test_a_revocation_that_could_not_be_read_at_once_counts_once_it_can(
    file: Path, clock: Clock
) -> None:
    """No file could be opened for a moment; the token's does not change any more."""
    secret = tokens.create(file, Role.OPERATOR, "alice")
    accepted = tokens.load(file, clock=clock, monotonic=clock)
    tokens.revoke(file, "alice")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clock.now += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        accepted.find(secret)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    clock.now += 1
    assert accepted.find(secret) is None


@pytest.mark.parametrize("broken", ["", "[", '[{"name": "x"}]', None])
def test_a_file_that_breaks_shuts_nobody_out(file: Path, clock: Clock, broken: str | None) -> None:
    """What was read before holds until it can be read again."""
    secret = tokens.create(file, Role.WEBHOOK, "alertmanager")
    accepted, whole = tokens.load(file, clock=clock, monotonic=clock), file.read_text()
    clock.now += 1
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    assert accepted.find(secret) is not None
    with pytest.raises(TokensError):
        tokens.load(file)
    file.write_text(json.dumps([{**json.loads(whole)[0], "name": "renamed"}]))
    clock.now += 1
    token = accepted.find(secret)
    assert token is not None
    assert token.name == "renamed"


@pytest.mark.parametrize("back", ["read again", "another"])
def test_people_are_refused_while_the_file_stays_unreadable(
    file: Path, clock: Clock, back: str
) -> None:
    """It may hold a revocation. The webhook goes on; all is well once the file can be read."""
    secret = tokens.create(file, Role.OPERATOR, "alice")
    machine = tokens.create(file, Role.WEBHOOK, "alertmanager")
    accepted, whole = tokens.load(file, clock=clock, monotonic=clock), file.read_text()
    kept = file.rename(file.with_name("kept"))
    clock.now += 1
    assert accepted.refresh().unreadable
    clock.now += PEOPLE_GRACE_S - 1
    assert accepted.find(secret) is not None
    clock.now += 1
    assert accepted.outdated
    assert accepted.find(secret) is None
    assert accepted.find(machine) is None
    assert accepted.find(machine, deliveries=True) is not None
    _ = kept.rename(file) if back == "read again" else file.write_text(whole)
    clock.now += 1
    assert accepted.find(secret) is not None
    assert not accepted.unreadable


def test_a_changed_wall_clock_delays_no_revocation(file: Path, clock: Clock) -> None:
    """NTP may set it back by hours."""
    secret = tokens.create(file, Role.OPERATOR, "alice")
    wall = Clock(clock.now)
    accepted = tokens.load(file, clock=wall, monotonic=clock)
    tokens.revoke(file, "alice")
    wall.now -= 7200
    clock.now += 1
    assert accepted.find(secret) is None


def test_a_changed_file_keeps_owner_group_and_mode(file: Path) -> None:
    """Root revokes, and the service reads the file by its group; a link stays a link."""
    tokens.create(file, Role.OPERATOR, "alice")
    tokens.create(file, Role.OPERATOR, "bob")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 12345, 54321)
    before = file.stat()
    link = file.with_name("link.json")
    link.symlink_to(file)
    tokens.revoke(link, "alice")
    after = file.stat()
    assert link.is_symlink()
    assert after.st_ino != before.st_ino
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert stat.S_IMODE(after.st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_change_that_would_lose_the_owner_is_refused() -> None:
    """The service could not read the file any more, and a revoked token would stay valid."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokens.json"
        tokens.create(file, Role.OPERATOR, "alice")
        file.chmod(0o644)
        Path(folder).chmod(0o777)
        (Path(folder) / ".tokens.json.lock").chmod(0o666)
        before = file.read_text()
        os.seteuid(12345)
        try:
            with pytest.raises(TokensError, match="cannot be kept"):
                tokens.revoke(file, "alice")
        finally:
            os.seteuid(0)
        assert file.read_text() == before
        assert not file.with_name(".tokens.json.new").exists()


def test_tokens_made_at_once_are_all_there(file: Path) -> None:
    """Two people at two terminals."""
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda n: tokens.create(file, Role.VIEWER, f"n{n}"), range(16)))
    accepted = tokens.load(file)
    assert all(accepted.find(secret) is not None for secret in secrets)


def test_the_command_makes_lists_and_revokes(tmp_path: Path) -> None:
    """The token alone is on stdout; a list shows no secret."""
    result = _run(tmp_path, "create", "--role", "operator", "--name", "alice", "--ttl", "90d")
    assert (result.returncode, result.stderr) == (0, "")
    (secret,) = result.stdout.splitlines()
    (entry,) = json.loads((tmp_path / "tokens.json").read_text())
    expires = datetime.fromisoformat(entry["expires_at"])
    assert 89 <= (expires - datetime.now(UTC)).days <= 90
    listed = _run(tmp_path, "list").stdout
    assert listed == f"alice  operator  until {expires:%FT%TZ}\n"
    limits = ("--service", "web-*", "--service", "api", "--account", "111122223333")
    person = ("--person", "bob", "--break-glass")
    made = _run(tmp_path, "create", "--role", "admin", "--name", "glass", *limits, *person)
    assert (made.returncode, made.stderr) == (0, "")
    (_, entry) = json.loads((tmp_path / "tokens.json").read_text())
    assert (entry["services"], entry["accounts"]) == (["web-*", "api"], ["111122223333"])
    assert _run(tmp_path, "list").stdout.splitlines()[1] == (
        "glass  admin  for ever  break-glass  services: web-*, api  accounts: 111122223333"
    )
    assert _run(tmp_path, "revoke", "glass").returncode == 0
    assert secret not in listed
    revoked = _run(tmp_path, "revoke", "alice")
    assert revoked.returncode == 0
    assert revoked.stdout.startswith("revoked alice in ")
    assert "within a second" in revoked.stdout
    assert _run(tmp_path, "list").stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--role", "king", "--name", "x"),
        ("create", "--role", "admin", "--name", "a b"),
        ("create", "--role", "admin", "--name", "x", "--ttl", "soon"),
        ("create", "--role", "admin", "--name", "x", "--break-glass"),
        ("create", "--role", "webhook", "--name", "x", "--service", "web"),
        ("create", "--role", "viewer", "--name", "x", "--service", "*-web"),
        ("create", "--role", "admin", "--name", "x", "--ttl", "0d"),
        ("create", "--role", "admin", "--name", "x", "--ttl", "99999d"),
        ("revoke", "nobody"),
        ("list",),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """On stderr, with status 2, and nothing is made."""
    result = _run(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("smartcloudops: ")
    assert not (tmp_path / "tokens.json").exists()
