"""Every setting, read from the environment here and nowhere else."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import DirectoryPath, Field, HttpUrl, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Mode(StrEnum):
    """How far a run may go, weakest first."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


class Profile(StrEnum):
    """Where the service runs; it gives other defaults, and nothing else."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


# What a profile says unless a variable of its own does.
_DEFAULTS: Mapping[Profile, Mapping[str, Any]] = MappingProxyType(
    {
        Profile.DEVELOPMENT: {"arming_required": False, "arming_evidence": 0},
        Profile.STAGING: {"arming_required": True, "arming_evidence": 3},
        Profile.PRODUCTION: {"arming_required": True, "arming_evidence": 10},
    }
)


class SettingsError(Exception):
    """A setting that cannot be used; the text names the variable and never its value."""


class Settings(BaseSettings):
    """`SMARTCLOUDOPS_<NAME>` for each field, described in docs/configuration.md."""

    model_config = SettingsConfigDict(
        env_prefix="SMARTCLOUDOPS_", env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    # A folder of files, each named after a variable in lower case.
    secrets_dir: DirectoryPath | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    database_url: str = "sqlite:///data/smartcloudops.db"
    prometheus_url: HttpUrl = HttpUrl("http://127.0.0.1:9090")
    alertmanager_url: HttpUrl = HttpUrl("http://127.0.0.1:9093")
    playbooks: Path = Path("playbooks")
    tokens_file: Path = Path("data/tokens.json")
    # Apprise's file, which says who is told by `notify`, and how.
    notify_file: Path | None = None
    notify_per_minute: Annotated[int, Field(ge=1, le=1000)] = 20
    # Where people reach the console: what they are told links to it.
    public_url: HttpUrl | None = None
    # The chat: secrets that sign its requests, and who somebody in it is.
    slack_secret_file: Path | None = None
    chat_secret_file: Path | None = None
    chat_users_file: Path | None = None
    # A model that answers questions, behind an OpenAI-compatible API; off without its address.
    ask_url: HttpUrl | None = None
    ask_model: str = ""
    ask_key_file: Path | None = None
    ask_timeout_s: Annotated[float, Field(gt=0, le=300)] = 30
    ask_tokens_per_day: Annotated[int, Field(ge=0)] = 200_000
    # A folder, or s3://bucket/prefix; the shipped model else.
    model: str | None = None
    # Which versions count, kept apart from a model in S3; else the folder's manifest.json.
    model_manifest: Path | None = None
    profile: Profile = Profile.DEVELOPMENT
    mode: Mode = Mode.OBSERVE
    # Whether a playbook that nobody has armed only observes.
    arming_required: bool = False
    # Observed decisions, and then verified recoveries, that justify the next mode.
    arming_evidence: Annotated[int, Field(ge=0)] = 0
    # Alertmanager's repeat_interval + group_interval, and a little: silence longer than this
    # closes an alert's episode.
    episode_gap_s: Annotated[float, Field(gt=0)] = 360
    verify_interval_s: Annotated[float, Field(gt=0)] = 5
    evidence_deadline_s: Annotated[float, Field(gt=0)] = 5
    # Whether CloudTrail is asked for changes that people make to a target.
    cloudtrail: bool = True
    # TLS, where nothing else terminates it; with a CA for clients, each must show a certificate.
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    # Requests a second that one client may make in the long run, to the API and to the webhook.
    rate_limit: Annotated[float, Field(gt=0)] = 100
    webhook_rate_limit: Annotated[float, Field(gt=0)] = 10_000
    # Addresses and networks whose X-Forwarded-For is believed, separated by commas.
    trusted_proxies: str = ""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    # Ed25519 in PEM: signs the audit's head, which goes into the archive, as exports do.
    audit_key_file: Path | None = None
    audit_archive: str = "data/audit"
    audit_head_interval_s: Annotated[float, Field(gt=0)] = 300
    # For how long nobody may remove what was put into a bucket with Object Lock.
    audit_lock_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    # Seconds between two comparisons of the ledger with CloudTrail; none without.
    reconcile_interval_s: Annotated[float, Field(ge=60)] | None = None
    # For how many days ended runs, and what belongs to them, are kept.
    retention_days: Annotated[float, Field(gt=0, le=36_500)] = 90
    # Where traces go, over OTLP and HTTP.
    otlp_url: HttpUrl | None = None
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def _of_profile(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What is not set is as the profile says; one that does not exist is refused as such."""
        profile = given.get("profile", Profile.DEVELOPMENT)
        return dict(_DEFAULTS.get(profile, {})) | given


def load() -> Settings:
    """Settings from the environment, and from the folder of secrets that it names.

    Raises SettingsError naming each variable that cannot be used.
    """
    try:
        folder = Settings().secrets_dir
        return Settings() if folder is None else Settings(_secrets_dir=folder)
    except ValidationError as error:
        faults = (
            f"SMARTCLOUDOPS_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError("; ".join(faults)) from None
