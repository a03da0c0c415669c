"""`check` finds what is wrong in the files beside the playbooks, by file and line."""

from pathlib import Path

import pytest

from receiver.cli.checked_files import check_files
from receiver.cli.errors import FindingsError
from receiver.settings import Settings


@pytest.mark.parametrize(
    ("setting", "text", "line", "part"),
    [
        ("oidc_roles", "roles:\n- {group: sre, role: admin}\n- {group: x, role: king}", 3, "role"),
        ("oidc_roles", "roles:\n- {group: sre, role: webhook}", 2, "role"),
        ("oidc_roles", "roles: []", 1, "roles"),
        ("oidc_roles", "roles:\n- {group: sre, role: admin, services: ['*-web']}", 2, "services"),
        ("incidents", "slack:\n  token_file: x\n  channel: general", 3, "channel"),
        ("incidents", "pagerduty: {severity: high, key_file: x}", 1, "severity"),
        ("incidents", "teams: {}", 1, "teams"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, setting: str, text: str, line: int, part: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with pytest.raises(FindingsError) as raised:
        check_files(Settings.model_validate({setting: file}))
    starts = f"{file}:{line}: "
    assert [found for found in raised.value.findings if found.startswith(starts) and part in found]
