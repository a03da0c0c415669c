"""The file of `SMARTCLOUDOPS_INCIDENTS`: the channels that show incidents."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from receiver.http.access.signatures import SecretFileError, read_secret
from receiver.incidents.channel import Channel, ChannelError
from receiver.incidents.cloudevents import CloudEvents
from receiver.incidents.jira import Jira
from receiver.incidents.pagerduty import PagerDuty
from receiver.incidents.slack import Slack
from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.yaml_source import YamlError, read

_Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+[^\s/]$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\"\\]{1,100}$")]


class InvalidIncidentsError(InvalidFilesError):
    """The file cannot be used."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Slack(_Part):
    token_file: Path
    channel: Annotated[str, StringConstraints(pattern=r"^[CG][A-Z0-9]+$")]
    url: _Url = "https://slack.com/api"


class _PagerDuty(_Part):
    key_file: Path
    severity: Literal["critical", "error", "warning", "info"] = "critical"
    url: _Url = "https://events.pagerduty.com/v2/enqueue"


class _Jira(_Part):
    url: _Url
    user: str = ""
    token_file: Path
    project: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]+$")]
    issue_type: _Name = "Task"
    done: _Name = "Done"
    reopen: _Name = "To Do"


class _CloudEvents(_Part):
    url: _Url
    secret_file: Path


class _File(_Part):
    slack: _Slack | None = None
    pagerduty: _PagerDuty | None = None
    jira: _Jira | None = None
    cloudevents: _CloudEvents | None = Field(default=None)


def load(path: Path, client: httpx.Client, clock: Callable[[], float]) -> list[Channel]:
    """The channels of the file. Raises InvalidIncidentsError with each fault."""
    try:
        value, lines = read(path)
    except YamlError as error:
        fault = Finding(file=path, line=error.line, message=error.message)
        raise InvalidIncidentsError([fault]) from None
    try:
        parsed = _File.model_validate(value)
    except ValidationError as error:
        raise InvalidIncidentsError(list(findings(path, lines, (), error))) from None
    return list(_channels(parsed, client, clock))


def _channels(parsed: _File, client: httpx.Client, clock: Callable[[], float]) -> Iterator[Channel]:
    if slack := parsed.slack:
        token = _secret(slack.token_file)
        yield Slack(client=client, url=slack.url, token=token, channel=slack.channel)
    if pager := parsed.pagerduty:
        key = _secret(pager.key_file)
        yield PagerDuty(client=client, url=pager.url, key=key, severity=pager.severity)
    if jira := parsed.jira:
        named = jira.model_dump(exclude={"token_file"})
        yield Jira(client=client, token=_secret(jira.token_file), **named)
    if events := parsed.cloudevents:
        secret = _secret(events.secret_file)
        yield CloudEvents(client=client, url=events.url, secret=secret, clock=clock)


def _secret(path: Path) -> Callable[[], str]:
    """Reads the secret for each call, because secrets are rotated."""

    def secret() -> str:
        try:
            return read_secret(path)
        except SecretFileError as error:
            raise ChannelError(str(error), sent=False) from None

    return secret
