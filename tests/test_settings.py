"""Settings come from the environment, and secrets from files."""

from pathlib import Path

import pytest

from receiver import settings
from receiver.settings import SettingsError


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SMARTCLOUDOPS_SECRETS_DIR", str(tmp_path))
    (tmp_path / "smartcloudops_database_url").write_text("postgresql://u:secret@h/d\n")
    return tmp_path


@pytest.mark.usefixtures("secrets")
def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its line end; a variable that is set counts more."""
    assert settings.load().database_url == "postgresql://u:secret@h/d"
    monkeypatch.setenv("SMARTCLOUDOPS_DATABASE_URL", "sqlite:///x.db")
    assert settings.load().database_url == "sqlite:///x.db"


def test_a_bad_secret_is_named_and_not_told(secrets: Path) -> None:
    """As any other setting."""
    (secrets / "smartcloudops_port").write_text("secret")
    with pytest.raises(SettingsError, match="SMARTCLOUDOPS_PORT") as raised:
        settings.load()
    assert "secret" not in str(raised.value)


def test_a_folder_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would start with the defaults, on another database."""
    monkeypatch.setenv("SMARTCLOUDOPS_SECRETS_DIR", "/nowhere")
    with pytest.raises(SettingsError, match="SMARTCLOUDOPS_SECRETS_DIR"):
        settings.load()
