"""`smartcloudops serve`."""

import gc
import signal
import sys
from contextlib import suppress

import click
import httpx
import uvicorn
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from actions.aws.errors import AWS_ERRORS
from receiver.app import app
from receiver.chat.wiring import ChatError, make_chat
from receiver.cli.errors import BadInputError, FailedError
from receiver.cli.playbooks import load_playbooks, load_settings
from receiver.controls.adoption import PlacesLostError
from receiver.db.database import DatabaseUrlError, SchemaError, describe_error
from receiver.db.process_lock import AlreadyRunningError
from receiver.edges import Edges
from receiver.http import server
from receiver.http.access import tokens
from receiver.http.access.signatures import SecretFileError, read_secret
from receiver.http.access.tokens import TokensError
from receiver.http.server import TlsError
from receiver.monitoring import alertmanager, servers
from receiver.notify.channels import Channels
from receiver.notify.recipients import NotifyFileError
from receiver.notify.tails import TracingError
from receiver.playbooks.loader import InvalidFilesError
from receiver.runtime import log_setup
from receiver.settings import Settings, SettingsError
from receiver.sso.sign_on import make_sign_on
from receiver.system import build

# Little of what an act allocates is in cycles: looking for them after each 700 objects, as Python
# does, took a tenth of its CPU time.
_COLLECTED_AFTER = (10_000, 20, 20)
_UNUSABLE = (
    AlreadyRunningError,
    ChatError,
    DatabaseUrlError,
    InvalidFilesError,
    NotifyFileError,
    PlacesLostError,
    SchemaError,
    SecretFileError,
    SettingsError,
    TlsError,
    TokensError,
    TracingError,
)


@click.command()
def serve() -> None:
    """Take alerts and act on them, within SMARTCLOUDOPS_MODE."""
    loaded = load_settings()
    playbooks = load_playbooks(loaded)
    server.raise_file_limit()
    try:
        api_tokens = tokens.load(loaded.tokens_file)
        http = httpx.Client(trust_env=False)
        channels = Channels(alertmanager.connect(loaded), loaded.notify_file)
        service = build(loaded, playbooks, Edges(channels=channels))
        chat_routes = make_chat(loaded, service, http)
        sso = make_sign_on(loaded, service.database, http, service.clock)
        log_setup.configure(loaded.log_format, loaded.log_level, _secrets(loaded))
        options = server.options(loaded, service.metrics.http.count_refused)
        # Prepared before the port is bound, so that every accepted connection gets an answer.
        service.prepare()
    except _UNUSABLE as error:
        raise BadInputError(str(error)) from None
    except AWS_ERRORS as error:
        raise BadInputError(f"AWS clients cannot be created: {error}") from None
    except SQLAlchemyError as error:
        raise FailedError(f"the database cannot be used: {describe_error(error)}") from None
    except OSError as error:
        raise FailedError(f"{error.filename or 'the database'}: {error.strerror}") from None
    # After its shutdown uvicorn sends itself the signal again, which would change the exit status.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Loaded modules are never freed: garbage collection among them would delay deliveries.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
    config = uvicorn.Config(app(service, api_tokens, chat_routes, sso), **options)
    listener, sockets = server.make_server(config)
    # uvicorn repeats the signal that ended it.
    with suppress(KeyboardInterrupt):
        listener.run(sockets)


def _secrets(loaded: Settings) -> list[str]:
    """The values of configured secrets, which the log redacts."""
    files = (
        loaded.slack_secret_file,
        loaded.chat_secret_file,
        loaded.ask_key_file,
        loaded.oidc_client_secret_file,
    )
    secrets = [read_secret(file) for file in files if file is not None]
    for file, url in (
        (loaded.prometheus_file, loaded.prometheus_url),
        (loaded.alertmanager_file, loaded.alertmanager_url),
    ):
        secrets += [secret for server in servers.load(file, url) for secret in server.secrets()]
    password = make_url(loaded.database_url).password
    return [*secrets, *([str(password)] if password else [])]
