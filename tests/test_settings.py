"""Settings come from the environment, and secrets from files."""

from pathlib import Path

import pytest

from receiver import settings
from receiver.settings import Mode, SettingsError


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


@pytest.mark.parametrize(
    ("profile", "required", "evidence"),
    [(None, False, 0), ("development", False, 0), ("staging", True, 3), ("production", True, 10)],
)
def test_a_profile_gives_defaults_and_a_variable_counts_more(
    monkeypatch: pytest.MonkeyPatch, profile: str | None, evidence: int, *, required: bool
) -> None:
    """As the page on the rollout says; no profile lets anything act."""
    if profile:
        monkeypatch.setenv("SMARTCLOUDOPS_PROFILE", profile)
    loaded = settings.load()
    assert (loaded.arming_required, loaded.arming_evidence) == (required, evidence)
    assert loaded.mode is Mode.OBSERVE
    monkeypatch.setenv("SMARTCLOUDOPS_ARMING_REQUIRED", str(not required).lower())
    monkeypatch.setenv("SMARTCLOUDOPS_ARMING_EVIDENCE", "7")
    loaded = settings.load()
    assert (loaded.arming_required, loaded.arming_evidence) == (not required, 7)


def test_a_profile_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt one would arm what should wait."""
    monkeypatch.setenv("SMARTCLOUDOPS_PROFILE", "prod")
    with pytest.raises(SettingsError, match="SMARTCLOUDOPS_PROFILE"):
        settings.load()


def test_a_profile_may_be_a_secret_file(secrets: Path) -> None:
    """As any other setting."""
    (secrets / "smartcloudops_profile").write_text("production\n")
    assert settings.load().arming_required
