"""`smartcloudops serve`."""

import gc
import signal
import sys

import click
import httpx
import uvicorn
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from actions.aws.clients import AWS_ERRORS
from receiver.app import app
from receiver.chat.wiring import ChatError, make_chat
from receiver.cli.playbooks import BAD_INPUT, FAILED, fail, playbooks_or_exit, settings_or_exit
from receiver.db.database import DatabaseUrlError, SchemaError, describe_error
from receiver.db.process_lock import AlreadyRunningError
from receiver.http import server, tokens
from receiver.http.server import TlsError
from receiver.http.signatures import SecretFileError, read_secret
from receiver.http.tokens import TokensError
from receiver.notify.channels import Channels, NotifyFileError
from receiver.notify.tails import TracingError
from receiver.runtime import log_setup
from receiver.settings import Settings
from receiver.system import build

_UNUSABLE = (
    AlreadyRunningError,
    ChatError,
    DatabaseUrlError,
    NotifyFileError,
    SchemaError,
    SecretFileError,
    TlsError,
    TokensError,
    TracingError,
)


@click.command()
def serve() -> None:
    """Take alerts and act on them, as far as SMARTCLOUDOPS_MODE allows."""
    loaded = settings_or_exit()
    playbooks = playbooks_or_exit(loaded.playbooks)
    server.raise_file_limit()
    try:
        known = tokens.load(loaded.tokens_file)
        http = httpx.Client(trust_env=False)
        channels = Channels(str(loaded.alertmanager_url), loaded.notify_file, http)
        service = build(loaded, playbooks, channels=channels)
        talking = make_chat(loaded, service, http)
        log_setup.configure(loaded.log_format, loaded.log_level, _secrets(loaded))
        how = server.options(loaded, service.metrics.http.count_refused)
        # Before the port is bound: whoever gets a connection gets an answer.
        service.prepare()
    except _UNUSABLE as error:
        fail(str(error), BAD_INPUT)
    except AWS_ERRORS as error:
        fail(f"AWS clients cannot be made: {error}", BAD_INPUT)
    except SQLAlchemyError as error:
        fail(f"the database cannot be used: {describe_error(error)}", FAILED)
    except OSError as error:
        fail(f"{error.filename or 'the database'}: {error.strerror}", FAILED)
    # uvicorn stops in order, and then sends itself the signal again, which would be the status.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # What is loaded stays: looking through it for garbage would hold up deliveries.
    gc.collect()
    gc.freeze()
    uvicorn.run(app(service, known, talking), **how)


def _secrets(loaded: Settings) -> list[str]:
    """What must not get into the log, as far as it is known by its value."""
    files = (loaded.slack_secret_file, loaded.chat_secret_file, loaded.ask_key_file)
    found = [read_secret(file) for file in files if file is not None]
    password = make_url(loaded.database_url).password
    return [*found, *([str(password)] if password else [])]
