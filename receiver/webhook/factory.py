"""Builds what takes alerts: the inbox, and who delivers to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import httpx
from sqlalchemy import select

from actions.aws import clients
from actions.aws.client_set import Aws
from actions.place import Place
from actions.reasons import Reason
from actions.refusal import RETRY_AFTER_S
from receiver.db.database import Database, database, inbox_url
from receiver.db.tables import runs
from receiver.http.access.seen_requests import SeenRequests
from receiver.http.access.tokens import Tokens
from receiver.monitoring.alertmanager import Alertmanager
from receiver.playbooks.loader import Playbooks
from receiver.settings import Settings
from receiver.webhook import senders
from receiver.webhook.endpoint import Deliveries
from receiver.webhook.host_alerts import HostAlerts
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.missed import MissedAlerts
from receiver.webhook.senders import Sender
from receiver.webhook.sns.sender import SnsSender
from receiver.webhook.sns.signature import SnsSignatures
from receiver.webhook.sns.subscriptions import Subscriptions
from receiver.webhook.truncated import Truncated


@dataclass(kw_only=True)
class AlertIntake:
    """Each part is created once. `certificates` fetches those of SNS; `wake` follows a commit."""

    settings: Settings
    playbooks: Playbooks
    database: Database
    aws_at: Callable[[Place], Aws]
    places: Sequence[Place]
    alertmanager: Alertmanager
    metrics: WebhookMetrics
    wake: Callable[[], None]
    certificates: httpx.Client | None
    clock: Callable[[], float]

    @cached_property
    def inbox(self) -> Inbox:
        inbox = database(inbox_url(self.settings.database_url), use="inbox")
        return Inbox(inbox, self.settings.episode_gap_s, self.wake)

    @cached_property
    def truncated(self) -> Truncated:
        return Truncated(self.alertmanager, self.inbox.submit, self.metrics, self.clock)

    @cached_property
    def missed(self) -> MissedAlerts:
        return MissedAlerts(
            alertmanager=self.alertmanager,
            inbox=self.inbox,
            metrics=self.metrics,
            clock=self.clock,
            put_off=self._put_off,
        )

    def _put_off(self, run_ids: Sequence[str]) -> frozenset[str]:
        """The runs among these of which the samples could not tell yet, or that had to wait.

        Where nothing tells how long, the alert's repeats decide.
        """
        waited = runs.c.refusal.in_([Reason.OUTSIDE_WINDOW, Reason.OVERRIDE_HOLD]) & (
            runs.c.next_act_at > runs.c.ended_at + RETRY_AFTER_S
        )
        query = select(runs.c.id).where(
            runs.c.id.in_(run_ids), (runs.c.refusal == Reason.CANNOT_TELL_YET) | waited
        )
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))

    @cached_property
    def host_alerts(self) -> HostAlerts:
        return HostAlerts(
            aws_at=self.aws_at,
            places=self.places,
            inbox=self.inbox,
            playbooks=self.playbooks,
            clock=self.clock,
        )

    @cached_property
    def subscriptions(self) -> Subscriptions:
        return Subscriptions(
            database=self.database, confirm=clients.confirm_subscription, clock=self.clock
        )

    def deliveries(self, tokens: Tokens) -> dict[str, Deliveries]:
        """The applications that answer deliveries, by path."""
        return {
            sender.path: Deliveries(
                sender=sender,
                inbox=self.inbox,
                truncated=self.truncated,
                metrics=self.metrics,
                clock=self.clock,
                per_s=self.settings.webhook_rate_limit,
            )
            for sender in self._senders(tokens)
        }

    def _senders(self, tokens: Tokens) -> Iterator[Sender]:
        yield senders.alertmanager(tokens, self.missed.note)
        yield senders.grafana_alerting(tokens)
        if self.settings.sns_topics:
            yield SnsSender(
                topics=frozenset(map(str.strip, self.settings.sns_topics.split(","))),
                signatures=SnsSignatures(
                    client=self.certificates or httpx.Client(), clock=self.clock
                ),
                subscriptions=self.subscriptions,
                seen=SeenRequests(self.database, self.clock),
            )
