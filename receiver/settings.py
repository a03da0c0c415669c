"""All settings; only this module reads them from the environment."""

import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    DirectoryPath,
    Field,
    HttpUrl,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from actions.execution.records import STANDALONE_PERCENT
from receiver.durations import parse_duration


class Mode(StrEnum):
    """The mode of a run, the most restricted first."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


class Profile(StrEnum):
    """The environment of the service, which selects defaults."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


# A variable overrides the default of the profile.
_DEFAULTS: Mapping[Profile, Mapping[str, Any]] = MappingProxyType(
    {
        Profile.DEVELOPMENT: {"arming_required": False},
        Profile.STAGING: {
            "arming_required": True,
            "arming_evidence": 3,
            "arming_agreement": 0.4,
        },
        Profile.PRODUCTION: {
            "arming_required": True,
            "arming_evidence": 10,
            "arming_agreement": 0.8,
            "destructive_approvals": 2,
        },
    }
)


NODE_JOB = "node"
_TOPICS = r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+(, *|$))*$"


def _to_seconds(value: object) -> object:
    """A number is a count of seconds, any other text a duration such as 10m."""
    if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
        return parse_duration(value)
    return value


class SettingsError(Exception):
    """A setting that cannot be used; the text names the variable and never its value."""


def _without_percent_sign(value: object) -> object:
    return value.removesuffix("%") if isinstance(value, str) else value


class Settings(BaseSettings):
    """`SMARTCLOUDOPS_<NAME>` for each field; its docstring is its line in docs/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix="SMARTCLOUDOPS_",
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    secrets_dir: DirectoryPath | None = None
    """A folder of secrets, such as `/run/secrets`. A file in it, named after a variable in lower
    case, sets that variable: `smartcloudops_database_url`. The environment wins."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The port to listen on; 0 takes a free port."""
    database_url: str = "sqlite:///data/smartcloudops.db"
    """The database of the records. SQLite keeps the inbox in a second file and allows one receiver;
    `postgresql://user@host/name` allows [several](architecture.md#several-receivers). Give its
    password by `PGPASSFILE` or as a secret's file."""
    prometheus_url: HttpUrl = HttpUrl("http://127.0.0.1:9090")
    """The Prometheus that evidence and verification are read from."""
    alertmanager_url: HttpUrl = HttpUrl("http://127.0.0.1:9093")
    """The Alertmanager that takes silences and returns truncated groups."""
    prometheus_file: Path | None = None
    """A file of [several Prometheus, or of one with a login](configuration.md#servers), in place of
    the URL."""
    alertmanager_file: Path | None = None
    """The same for Alertmanager; the first is asked."""
    grafana_url: HttpUrl | None = None
    """The address of your dashboard of hosts, which runs link to with their time. `$LABEL` in it is
    that label of the alert, for example `https://grafana/d/UID?var-instance=$instance`."""
    playbooks: Path = Path("playbooks")
    """The folder of playbooks."""
    node_job: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./ -]{1,128}$")] = NODE_JOB
    """The job of node_exporter in Prometheus: `$job` in playbooks."""
    targets: Path | None = None
    """The file that says which labels name [the target](configuration.md#targets)."""
    accounts: Path | None = None
    """The file of [accounts and regions](accounts.md) in which the service may act."""
    dependencies: Path | None = None
    """The file of [dependencies](dependencies.md): what a target depends on may be the cause."""
    roles: Path | None = None
    """A folder of [other exporters](model.md#other-exporters) than node_exporter: `roles.d`."""
    tokens_file: Path = Path("data/tokens.json")
    """The file with the hashes of the [tokens](configuration.md#tokens)."""
    url: HttpUrl | None = None
    """The address of a running service, for commands that ask it: `status`, `why`, `pause`."""
    token_file: Path | None = None
    """A file with the token of these commands."""
    oidc_issuer: Annotated[str, Field(pattern=r"^(https://|http://127\.0\.0\.1[:/])")] | None = None
    """The issuer of an [identity provider](sso.md) (OpenID Connect), exactly as it names itself;
    enables single sign-on. Needs `SMARTCLOUDOPS_PUBLIC_URL`."""
    oidc_client_id: str = ""
    """The service's client id at the identity provider."""
    oidc_client_secret_file: Path | None = None
    """A file with the client's secret; without it the client is public."""
    oidc_roles: Path | None = None
    """The file that gives [roles to groups](sso.md#roles)."""
    oidc_audience: str = ""
    """The audience (`aud`) of JWTs for the API; by default the client id."""
    oidc_scopes: str = "openid email profile"
    """The scopes that a login asks for."""
    oidc_name_claim: str = "email"
    """The claim that names a person."""
    oidc_groups_claim: str = "groups"
    """The claim that lists a person's groups."""
    notify_file: Path | None = None
    """The file with the [recipients](configuration.md#notifications) by tag. It holds secrets."""
    incidents: Path | None = None
    """The file of [channels that show incidents](incidents.md): Slack, PagerDuty, Jira,
    CloudEvents."""
    public_url: HttpUrl | None = None
    """The console's address, for links in notifications."""
    slack_secret_file: Path | None = None
    """A file with Slack's signing secret; enables [Slack](chatops.md)."""
    chat_secret_file: Path | None = None
    """A file with the signing secret of another chat; enables its webhook."""
    chat_users_file: Path | None = None
    """A file with names and roles of the chat's users."""
    ask_url: HttpUrl | None = None
    """The base URL of an OpenAI-compatible API; enables `ask`."""
    ask_model: str = ""
    """The name of the assistant's model."""
    ask_key_file: Path | None = None
    """A file with the key of the assistant's API."""
    ask_timeout_s: Annotated[float, Field(gt=0, le=300)] = 30
    """Seconds within which the assistant must answer."""
    ask_tokens_per_day: Annotated[int, Field(ge=0)] = 200_000
    """Model tokens for all of the assistant's answers in a day, counted from the process' start."""
    sns_topics: Annotated[str, Field(pattern=_TOPICS)] = ""
    """ARNs, with commas, of the [SNS topics](configuration.md#amazon-sns) of `/webhook/sns`."""
    model: str | None = None
    """A folder or `s3://bucket/prefix` of models: [in service](model.md#in-service)."""
    model_manifest: Path | None = None
    """The file that lists the model's valid versions by SHA-256; required for a model in S3."""
    profile: Profile = Profile.DEVELOPMENT
    """`development`, `staging` or `production`: the [defaults](rollout.md#profiles) of arming."""
    mode: Mode = Mode.OBSERVE
    """The highest mode of any run: [`observe`, `approve` or `auto`](rollout.md)."""
    arming_required: bool = False
    """Whether an unarmed playbook only observes."""
    arming_evidence: Annotated[int, Field(ge=0)] = 0
    """Incidents needed to arm a playbook: observed and [judged](rollout.md#what-people-did) ones
    for `approve`, acts with a known result for `auto`."""
    arming_agreement: Annotated[float, Field(ge=0, lt=1)] = 0
    """The least lower 95 % bound of [the share of right incidents](rollout.md#step-by-step) that
    arms a playbook."""
    error_budget: Annotated[int, Field(ge=0)] = 3
    """Acts a week in a service that may not help, not last or be marked wrong; then its armed
    playbooks [are disarmed](rollout.md#disarm). 0 is any number."""
    destructive_approvals: Annotated[int, Field(ge=1, le=5)] = 1
    """The number of people who must approve a destructive step, if it needs approval."""
    episode_gap_s: Annotated[float, Field(gt=0)] = 360
    """Seconds without a repeat after which an alert's episode ends: set a little more than
    Alertmanager's `repeat_interval` + `group_interval`."""
    unhandled_after: Annotated[float, BeforeValidator(_to_seconds), Field(ge=1)] = 600
    """Seconds, or a duration such as 10m, that an alert may fire without remedy before people are
    [notified](configuration.md#notifications)."""
    standalone_budget: Annotated[
        float, BeforeValidator(_without_percent_sign), Field(gt=0, le=100)
    ] = STANDALONE_PERCENT
    """The percentage of the opted-in instances outside Auto Scaling groups (at least one) that
    [`standalone` playbooks](playbooks.md#the-file) may have out of service at once."""
    watch: str = ""
    """Matchers of the hosts to [watch](model.md#see-it-coming) before any alert, such as
    `asg=~"web-.*",env="prod"`; empty watches none."""
    watch_interval: Annotated[float, BeforeValidator(_to_seconds), Field(ge=5, le=300)] = 60
    """Seconds, or a duration, between two looks at the watched hosts."""
    verify_interval_s: Annotated[float, Field(gt=0)] = 5
    """Seconds between two checks for recovery."""
    cloudtrail: bool = True
    """Whether decisions ask CloudTrail for people's changes to a target."""
    programs: str = ""
    """Patterns (`*`), with commas, of the ARNs of roles and users that programs have: what they do
    is no person's answer [to an alert](rollout.md#what-people-did)."""
    root_path: Annotated[str, Field(pattern=r"^((/[A-Za-z0-9._~-]+)+/?)?$")] = ""
    """The path below which a proxy serves the service, such as `/ops`, whether it strips the path
    from requests or keeps it."""
    tls_cert_file: Path | None = None
    """A certificate chain (PEM) to serve HTTPS with."""
    tls_key_file: Path | None = None
    """The private key (PEM) of `SMARTCLOUDOPS_TLS_CERT_FILE`."""
    tls_client_ca_file: Path | None = None
    """A CA (PEM); clients must have a certificate of it, in addition to a token."""
    rate_limit: Annotated[float, Field(gt=0)] = 100
    """Requests a second from one address, with bursts of ten times as many; more get 429."""
    webhook_rate_limit: Annotated[float, Field(gt=0)] = 10_000
    """As `SMARTCLOUDOPS_RATE_LIMIT`, for deliveries; more get 503, and Alertmanager retries."""
    max_connections: Annotated[int, Field(ge=16, le=100_000)] = 1000
    """The most open connections: for a further one idle ones are closed, or it gets 503."""
    trusted_proxies: str = ""
    """Comma-separated addresses and networks of proxies whose `X-Forwarded-For` is believed; no
    wildcards."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """The number of concurrent decisions, and of concurrent phases."""
    audit_key_file: Path | None = None
    """An Ed25519 private key (PEM) that [signs the audit's head](audit.md#signed-heads)."""
    audit_archive: str = "data/audit"
    """A folder or `s3://bucket/prefix` for signed heads and exports."""
    audit_lock_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """Days of Object Lock on new objects in the archive."""
    reconcile_interval_s: Annotated[float, Field(ge=60)] | None = None
    """Seconds (at least 60) between [comparisons](audit.md#reconcile-the-ledger-with-aws) of the
    ledger with CloudTrail."""
    retention_days: Annotated[float, Field(gt=0, le=36_500)] = 90
    """Days that ended runs are [kept](configuration.md#retention)."""
    otlp_url: HttpUrl | None = None
    """A collector's trace endpoint, `http://collector:4318/v1/traces`; needs `pip install
    'smartcloudops[otel]'`."""
    log_format: Literal["json", "console"] = "json"
    """`json` or `console`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: str) -> str:
        """Refuse all-address networks: a trusted proxy chooses the address that is audited."""
        for proxy in filter(None, map(str.strip, proxies.split(","))):
            try:
                network = ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(
                    "each must be an IP address or a network without host bits"
                ) from None
            if network.prefixlen == 0:
                raise ValueError(f"{proxy} trusts every address: list each proxy")
        return proxies

    @field_validator("root_path")
    @classmethod
    def _without_last_slash(cls, path: str) -> str:
        return path.removesuffix("/")

    @model_validator(mode="before")
    @classmethod
    def _apply_profile(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Add the profile's defaults. The field `profile` itself refuses an unknown profile."""
        profile = values.get("profile", Profile.DEVELOPMENT)
        return dict(_DEFAULTS.get(profile, {})) | values


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
