"""Runs statements by the database's driver, as SQLAlchemy takes longer than the database."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def run(connection: Connection, sql: str, *parameters: Any, **options: Any) -> Any:
    """Run it in the connection's transaction. Returns the driver's cursor.

    Raises SQLAlchemy's errors.
    """
    driver: Any = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    try:
        return driver.execute(sql, *parameters, **options)
    except errors as error:
        if getattr(driver, "closed", False):
            connection.invalidate(error)
        raise DBAPIError.instance(sql, None, error, errors, dialect=connection.dialect) from error
