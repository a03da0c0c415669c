"""The files that `check` lints beside the playbooks: servers, roles of people, channels."""

import time

import httpx

from receiver.cli.errors import FindingsError
from receiver.incidents import file as incidents_file
from receiver.monitoring import servers
from receiver.playbooks.loader import InvalidFilesError
from receiver.settings import Settings
from receiver.sso import role_map


def check_files(loaded: Settings) -> None:
    """Raises FindingsError."""
    try:
        servers.load(loaded.prometheus_file, loaded.prometheus_url)
        servers.load(loaded.alertmanager_file, loaded.alertmanager_url)
        if loaded.oidc_roles is not None:
            role_map.load(loaded.oidc_roles)
        if loaded.incidents is not None:
            incidents_file.load(loaded.incidents, httpx.Client(), time.time)
    except InvalidFilesError as errors:
        raise FindingsError(errors.findings) from None
