"""Amazon SNS as a sender of alerts: proven by its signature, for the topics that are allowed."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import structlog
from fastapi import HTTPException

from receiver.http.access.seen_requests import SeenBeforeError, SeenRequests
from receiver.webhook.senders import Batch
from receiver.webhook.sns.alarms import parse_alerts
from receiver.webhook.sns.message import SnsMessage, parse_message
from receiver.webhook.sns.signature import CertificateError, ForgedError, SnsSignatures
from receiver.webhook.sns.subscriptions import Subscriptions

_log = structlog.get_logger()
SNS_PATH = "/webhook/sns"
# Bytes. SNS's messages have at most 256 KiB, and JSON may write six for one.
_BODY_MAX = 2 * 1024 * 1024
# SNS tries again for at most 3,600 s (Developer Guide, Amazon SNS message delivery retries).
_LATE_S, _EARLY_S = 3900.0, 300.0


@dataclass(frozen=True, kw_only=True)
class SnsSender:
    """Reads messages of these `topics` (ARNs), each of them once."""

    topics: AbstractSet[str]
    signatures: SnsSignatures
    subscriptions: Subscriptions
    seen: SeenRequests
    path: str = SNS_PATH
    body_max: int = _BODY_MAX
    # Always in a thread: the certificate may have to be fetched.
    thread_from: int = 0

    def admit(self, authorization: str, address: str) -> None:
        """Nobody yet: the signature is in the body."""

    def read(self, body: bytes, now: float) -> Batch:
        message = parse_message(body)
        self._verify(message, now)
        match message.type:
            case "SubscriptionConfirmation":
                self.subscriptions.record(message)
                _log.warning("sns_subscription_waits", topic=message.topic, id=message.id)
                return Batch(alerts=())
            case "UnsubscribeConfirmation":
                _log.error("sns_subscription_ended", topic=message.topic)
                return Batch(alerts=())
        alerts, rejected = parse_alerts(message.text, now)
        if self.seen.has(_signature(message)):
            return Batch(alerts=(), duplicates=len(alerts), rejected=rejected)
        return Batch(alerts=alerts, rejected=rejected, after=partial(self._remember, message))

    def _verify(self, message: SnsMessage, now: float) -> None:
        if message.topic not in self.topics:
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "the topic is not one of SMARTCLOUDOPS_SNS_TOPICS"
            )
        if not -_EARLY_S <= now - message.at.timestamp() <= _LATE_S:
            raise HTTPException(HTTPStatus.FORBIDDEN, "the message is not of the last hour")
        try:
            self.signatures.verify(message)
        except ForgedError as error:
            _log.warning("sns_message_refused", topic=message.topic, reason=str(error))
            raise HTTPException(HTTPStatus.FORBIDDEN, "SNS did not sign the message") from None
        except CertificateError as error:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None

    def _remember(self, message: SnsMessage) -> None:
        try:
            self.seen.add(_signature(message))
        except SeenBeforeError:
            # It was delivered twice at once; the inbox took the second one as a repeat.
            _log.info("sns_message_repeated", id=message.id)


def _signature(message: SnsMessage) -> str:
    return f"sns:{message.id}"
