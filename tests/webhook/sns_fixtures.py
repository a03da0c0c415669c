"""Amazon SNS as its Developer Guide describes it: what it signs, and where its certificate is."""

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"
ALARM_ARN = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:web-cpu"
CERTIFICATE = (
    "https://sns.eu-west-1.amazonaws.com/"
    "SimpleNotificationService-56e67fcb41f6fec09b0196692625d385.pem"
)
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = (
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
)
_HASHES = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 as SNS does by default


@dataclass
class Sns:
    """Signs messages with a key of its own; `name` is the common name of its certificate."""

    name: str = "sns.amazonaws.com"
    valid_days: int = 30
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    fetched: list[str] = field(default_factory=list)
    status: int = 200

    def client(self) -> httpx.Client:
        """The way to its certificate, and to nothing else."""

        def answer(request: httpx.Request) -> httpx.Response:
            self.fetched.append(str(request.url))
            return httpx.Response(self.status, content=self.pem())

        return httpx.Client(transport=httpx.MockTransport(answer))

    def pem(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            subject_name=name,
            issuer_name=name,
            public_key=self.key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=60),
            not_valid_after=now + timedelta(days=self.valid_days),
        )
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def notification(self, message: object, **changes: Any) -> dict[str, Any]:
        text = message if isinstance(message, str) else json.dumps(message)
        return self.sign({"Type": "Notification", "Message": text, **changes})

    def confirmation(self, **changes: Any) -> dict[str, Any]:
        own = {
            "Type": "SubscriptionConfirmation",
            "Message": f"You have chosen to subscribe to the topic {TOPIC}.",
            "Token": "2336412f37",
            "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        }
        return self.sign({**own, **changes})

    def sign(self, message: Mapping[str, Any]) -> dict[str, Any]:
        whole: dict[str, Any] = {
            "MessageId": str(uuid.uuid4()),
            "TopicArn": TOPIC,
            "Timestamp": moment(time.time()),
            "SignatureVersion": "1",
            "SigningCertURL": CERTIFICATE,
            **message,
        }
        names = _NOTIFICATION if whole["Type"] == "Notification" else _CONFIRMATION
        text = "".join(f"{name}\n{whole[name]}\n" for name in names if name in whole)
        digest = _HASHES[whole["SignatureVersion"]]
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), digest)
        return {**whole, "Signature": base64.b64encode(signature).decode()}


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def alarm(state: str, **changes: Any) -> dict[str, Any]:
    """CloudWatch's message about an alarm of one instance."""
    return {
        "AlarmName": "web-cpu",
        "AlarmDescription": "CPU of a web server",
        "AWSAccountId": "123456789012",
        "AlarmConfigurationUpdatedTimestamp": "2026-11-20T09:00:00.000+0000",
        "NewStateValue": state,
        "NewStateReason": "Threshold Crossed: 3 datapoints were greater than the threshold (90.0).",
        "StateChangeTime": moment(time.time()).replace("Z", "+0000"),
        "Region": "EU (Ireland)",
        "AlarmArn": ALARM_ARN,
        "OldStateValue": "OK",
        "OKActions": [TOPIC],
        "AlarmActions": [TOPIC],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "CPUUtilization",
            "Namespace": "AWS/EC2",
            "StatisticType": "Statistic",
            "Statistic": "AVERAGE",
            "Unit": None,
            "Dimensions": [{"value": "i-0a1b2c3d4e5f60718", "name": "InstanceId"}],
            "Period": 60,
            "EvaluationPeriods": 3,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 90.0,
            "TreatMissingData": "missing",
        },
        **changes,
    }
