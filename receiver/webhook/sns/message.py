"""A message of Amazon SNS, as it posts it to a subscribed address.

Source: Amazon SNS Developer Guide, Parsing Amazon SNS message formats, and Verifying the signature
of an Amazon SNS message.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from receiver.webhook.payload import NotJsonError, WrongShapeError

_TOPIC = r"^arn:(aws|aws-cn|aws-us-gov):sns:[a-z0-9-]{1,32}:\d{12}:[A-Za-z0-9_-]{1,256}$"
_ID = r"^[A-Za-z0-9_-]{1,100}$"
# The end of SNS's own addresses in each partition. A message of another partition is refused.
_SUFFIXES: Mapping[str, str] = {
    "aws": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-us-gov": "amazonaws.com",
}
_Text = Annotated[str, StringConstraints(max_length=8192)]
_SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_CONFIRMATION = (
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
)


class SnsMessage(BaseModel):
    """A message as sent; nothing in it is proven before its signature is verified."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Annotated[
        Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"],
        Field(alias="Type"),
    ]
    id: Annotated[str, StringConstraints(pattern=_ID), Field(alias="MessageId")]
    topic: Annotated[str, StringConstraints(pattern=_TOPIC), Field(alias="TopicArn")]
    text: Annotated[str, Field(alias="Message")]
    subject: Annotated[_Text | None, Field(alias="Subject")] = None
    timestamp: Annotated[_Text, Field(alias="Timestamp")]
    token: Annotated[_Text, Field(alias="Token")] = ""
    subscribe_url: Annotated[_Text, Field(alias="SubscribeURL")] = ""
    version: Annotated[_Text, Field(alias="SignatureVersion")]
    signature: Annotated[_Text, Field(alias="Signature")]
    certificate_url: Annotated[_Text, Field(alias="SigningCertURL")]
    at: AwareDatetime = Field(validation_alias="Timestamp")

    @property
    def region(self) -> str:
        return self.topic.split(":")[3]

    @property
    def host(self) -> str:
        """The host of SNS in the topic's region and partition."""
        return f"sns.{self.region}.{_SUFFIXES[self.topic.split(':')[1]]}"

    def signed_text(self) -> bytes:
        """The text over which SNS computes the signature."""
        names = _SIGNED if self.type == "Notification" else _SIGNED_CONFIRMATION
        values = self.model_dump(by_alias=True)
        lines = [f"{name}\n{values[name]}\n" for name in names if values[name] is not None]
        return "".join(lines).encode()


def parse_message(body: bytes) -> SnsMessage:
    """Raises NotJsonError or WrongShapeError."""
    try:
        return SnsMessage.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise NotJsonError("the body is not JSON") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        hint = "raw message delivery must be off"
        raise WrongShapeError(
            f"not a message of Amazon SNS: {where}: {first['msg']} ({hint})"
        ) from None
