"""Translates the errors of the layers below into failures of a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from actions.assurance.cloudtrail import TrailError
from actions.audit.archive import ArchiveError
from actions.audit.signed_heads import KeyFileError
from actions.aws.errors import AWS_ERRORS
from receiver.cli.errors import BadInputError, FailedError
from receiver.db.database import DatabaseUrlError, describe_error
from receiver.db.process_lock import AlreadyExportingError
from receiver.settings import SettingsError


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises BadInputError or FailedError for errors of settings, audit, AWS and database."""
    try:
        yield
    except (SettingsError, DatabaseUrlError, KeyFileError, TrailError) as error:
        raise BadInputError(str(error)) from None
    except (ArchiveError, AlreadyExportingError, OSError) as error:
        raise FailedError(str(error)) from None
    except AWS_ERRORS as error:
        raise BadInputError(f"AWS cannot be called: {error}") from None
    except SQLAlchemyError as error:
        raise FailedError(f"the database cannot be read: {describe_error(error)}") from None
