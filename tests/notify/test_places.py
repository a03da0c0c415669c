"""Names in messages say where they are, where there are several accounts and regions."""

from dataclasses import replace

import pytest

from receiver.audit.tail import Record
from receiver.notify.messages import Message, make_message
from receiver.runs import intake
from receiver.runs.model import Run
from receiver.webhook import payload
from receiver.webhook.episodes import QueuedAlert

_NOW = 1_800_000_000.0
_SHOP, _BANK = "111111111111", "222222222222"


def _run(account: str, region: str) -> Run:
    alert = payload.parse_alert({"labels": {"alertname": "HighCPU", "asg": "web"}}, _NOW)
    assert alert is not None
    run = intake.preview(QueuedAlert(id="A" * 26, received_at=_NOW, alert=alert), _NOW)
    return replace(run, playbook="high-cpu", account=account, region=region)


def _message(event: str, run: Run | None = None, **detail: str) -> Message:
    message = make_message(
        Record(seq=1, at=_NOW, actor="alice", event=event, run_id="A" * 26, detail=detail),
        run,
        None,
    )
    assert message is not None
    return message


def test_groups_of_one_name_do_not_silence_each_other() -> None:
    shop, bank, other = (
        _message("run_failed", _run(account, region), target="web", outcome="nothing helped")
        for account, region in ((_SHOP, "eu-west-1"), (_BANK, "eu-west-1"), (_SHOP, "us-east-1"))
    )
    assert shop.title == f"Failed: web of {_SHOP}/eu-west-1"
    assert len({shop.same_as, bank.same_as, other.same_as}) == 3
    alone = _message("run_failed", _run("", ""), target="web", outcome="nothing helped")
    assert alone.title == "Failed: web"


@pytest.mark.parametrize(
    ("place", "title"),
    [
        ({}, "SmartCloudOps is paused by alice"),
        ({"account": _SHOP}, f"SmartCloudOps is paused in {_SHOP} by alice"),
        (
            {"account": _SHOP, "region": "eu-west-1"},
            f"SmartCloudOps is paused in {_SHOP}/eu-west-1 by alice",
        ),
    ],
)
def test_a_pause_says_of_what_it_is(place: dict[str, str], title: str) -> None:
    assert _message("paused", None, comment="migration", **place).title == title
