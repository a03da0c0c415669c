"""`smartcloudops sns confirm`: confirms a subscription to a topic of Amazon SNS."""

import click

from receiver import settings
from receiver.cli.client.service import get_items, post
from receiver.cli.error_translation import translate_errors
from receiver.cli.errors import FailedError
from receiver.cli.output import echo

_PATH = "/api/v1/sns/subscriptions"


@click.group("sns")
def sns_group() -> None:
    """Topics of Amazon SNS that deliver alerts."""


@sns_group.command("confirm")
@click.argument("topic", required=False)
@click.option("--comment", required=True, help="The reason, for the audit.")
def confirm(topic: str | None, comment: str) -> None:
    """Confirm the subscription to TOPIC (its ARN), or the only one that waits.

    It asks the service at SMARTCLOUDOPS_URL, with a token of the role admin.
    """
    with translate_errors():
        loaded = settings.load()
        waiting = [item for item in get_items(loaded, _PATH) if topic in (None, item["topic"])]
        if not waiting:
            raise FailedError(f"no subscription{f' to {topic}' if topic else ''} waits")
        topics = sorted({item["topic"] for item in waiting})
        if len(topics) > 1:
            raise FailedError(f"several wait, name one: {', '.join(topics)}")
        post(loaded, f"{_PATH}/{waiting[-1]['id']}/confirm", {"comment": comment})
    echo(f"{topics[0]} is confirmed")
