"""The leader's task that shows incidents on the channels of `SMARTCLOUDOPS_INCIDENTS`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import httpx

from receiver.audit.tail import AuditTail
from receiver.db.database import Database
from receiver.incidents import file, tracker
from receiver.incidents.metrics import IncidentMetrics
from receiver.incidents.sync import Sync
from receiver.incidents.tracker import Tracker
from receiver.incidents.view import read_view
from receiver.settings import Settings
from receiver.webhook.inbox import Inbox


@dataclass(frozen=True, kw_only=True)
class IncidentTask:
    """`client` calls the channels."""

    settings: Settings
    database: Database
    inbox: Inbox
    client: httpx.Client | None
    metrics: IncidentMetrics
    clock: Callable[[], float]

    def make(self) -> Iterator[AuditTail]:
        """The tail, if there is a file of channels. Raises InvalidIncidentsError."""
        path = self.settings.incidents
        if path is None:
            return
        tracking = Tracker(
            database=self.database,
            inbox=self.inbox,
            after_s=self.settings.unhandled_after,
            clock=self.clock,
        )
        url = None if self.settings.public_url is None else str(self.settings.public_url)
        sync = Sync(
            database=self.database,
            channels=file.load(path, self.client or httpx.Client(trust_env=False), self.clock),
            read=partial(read_view, public_url=url),
            metrics=self.metrics,
            clock=self.clock,
        )

        def on_idle() -> None:
            tracking.look()
            sync.run_once()

        yield AuditTail(self.database, "incidents", tracker.EVENTS, tracking.on_record, on_idle)
