"""An executor outside of a service: people forbid nothing, and no other process leads."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from actions.aws.client_set import Aws
from actions.execution.executor import Executor
from actions.messaging import Messenger, NullMessenger


def executor(
    aws: Aws,
    begin: Callable[[], AbstractContextManager[Connection]],
    clock: Callable[[], float],
    messenger: Messenger | None = None,
) -> Executor:
    """Scopes are read from AWS for each claim."""
    return Executor(
        aws=aws,
        messenger=messenger or NullMessenger(),
        begin=begin,
        clock=clock,
        forbids=lambda _connection, _step: None,
        check=lambda: None,
        recent_scopes=lambda _target, _group, _bounds: None,
    )
