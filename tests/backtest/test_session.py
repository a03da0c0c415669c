"""Past alerts, played to the service itself."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backtest import report
from backtest.decisions import Result, differences
from backtest.incidents import Period
from backtest.past_prometheus import Answers, LaterAskedError
from backtest.rule_replay import Rule
from backtest.session import Session
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import Group
from receiver.playbooks.loader import load
from receiver.settings import Settings
from tests.backtest.past_server import ID, NOW, PLAYBOOK, PastServer, labels_of

_URL = "http://prometheus"


def _alert(number: int, since: float, lasts_s: float) -> tuple[Mapping[str, str], float, float]:
    labels = labels_of(number, alertname="HighCPU", severity="warning")
    return labels, NOW + since, NOW + since + lasts_s


def _run(folder: Path, server: PastServer, playbook: str = PLAYBOOK, **parts: Any) -> Result:
    (folder / "high-cpu.yaml").write_text(playbook)
    session = Session(
        settings=Settings(prometheus_url=_URL, playbooks=folder),
        playbooks=load(folder),
        period=Period(since=NOW, until=NOW + 14_400),
        live={_URL: server.client()},
        per_s=1e6,
        **{"answers": Answers(), **parts},
    )
    return session.run()


def _told(result: Result) -> Sequence[tuple[float, str, str]]:
    return [(one.at - NOW, one.summary, one.target) for one in result.decisions]


def test_a_decision_asks_for_nothing_later_than_its_alert(tmp_path: Path) -> None:
    """The server fails every evidence query of a later time, so a decision would be unknown."""
    server = PastServer(alerts=[_alert(1, 600, 60)], refuses_after=NOW + 600)
    result = _run(tmp_path, server)
    assert _told(result) == [(600, "act reboot_instance", ID(1))]
    assert "AWS confirmed the target, launched before, and its tag" in result.decisions[0].assumed


def test_a_query_that_looks_ahead_ends_the_backtest(tmp_path: Path) -> None:
    ahead = PLAYBOOK.replace("'cpu{$selector}'", "'cpu{$selector} offset -5m'")
    with pytest.raises(LaterAskedError, match="offset -5m"):
        _run(tmp_path, PastServer(alerts=[_alert(1, 600, 60)]), ahead)


def test_the_ladder_goes_on_while_the_alert_fires(tmp_path: Path) -> None:
    """No step changes what the metrics were: the next one follows, or the fault ended."""
    result = _run(tmp_path, PastServer(alerts=[_alert(1, 600, 1_800)]))
    assert [told[1] for told in _told(result)] == ["act reboot_instance", "act replace_instance"]
    first, second = result.decisions
    # EC2 may take 330 s to reboot a host the hard way.
    assert second.at - first.at == 330


def test_nothing_is_held_out_of_a_backtest(tmp_path: Path) -> None:
    """It tells what would be done, not who waits first."""
    held = PLAYBOOK + "holdout: {share: 50%, wait: 1m}\n"
    alerts = [_alert(1, 600 + number * 2_000, 60) for number in range(6)]
    result = _run(tmp_path, PastServer(alerts=alerts), held)
    assert [told[1] for told in _told(result)] == ["act reboot_instance"] * 6


def test_half_a_group_is_a_storm(tmp_path: Path) -> None:
    alerts = [_alert(number, 600, 300) for number in (1, 2, 3)]
    result = _run(tmp_path, PastServer(alerts=alerts))
    assert "act reboot_instance" not in {told[1] for told in _told(result)[1:]}
    refused = [one for one in result.decisions if one.decision == "refuse"]
    assert refused
    assert {one.reason for one in refused} <= {"storm", "blast_radius"}


def test_a_changed_threshold_changes_just_what_it_decides(tmp_path: Path) -> None:
    server = PastServer(
        alerts=[_alert(1, 600, 60), _alert(2, 6_000, 60)],
        cpu=lambda host, _: 0.95 if host == ID(1) else 0.85,
    )
    before = _run(tmp_path, server)
    after = _run(tmp_path, server, PLAYBOOK.replace('facts["cpu"] > 0.8', 'facts["cpu"] > 0.86'))
    (line,) = differences(before.decisions, after.decisions)
    second = before.incidents[1].id
    assert line == f"{second} 1 HighCPU {ID(2)}: act reboot_instance -> refuse no_step"


def test_rules_are_played_in_place_of_what_fired(tmp_path: Path) -> None:
    server = PastServer(cpu=lambda host, at: 0.95 if host == ID(4) and at > NOW + 900 else 0.1)
    rule = Rule(
        name="HighCPU",
        expr="cpu > 0.8",
        for_s=120,
        keep_firing_for_s=0,
        interval_s=60,
        labels={"severity": "warning"},
    )
    result = _run(tmp_path, server, rules=[rule])
    (incident,) = result.incidents
    assert (incident.starts_at - NOW, incident.ended_at) == (1_080, None)
    assert _told(result)[0] == (1_080, "act reboot_instance", ID(4))


def test_the_report_shows_each_alert_and_escapes_it(tmp_path: Path) -> None:
    labels, since, until = _alert(1, 600, 60)
    odd = {**labels, "alertname": "<script>"}
    result = _run(tmp_path, PastServer(alerts=[(labels, since, until), (odd, since, until)]))
    page, text = report.as_html(result), "\n".join(report.as_text(result))
    assert "<script>" not in page
    assert page.count("<svg") == 2
    assert "2 alerts: it would have acted on 1, in 1 steps" in text
    assert "no_playbook" in text
    told = report.as_json(result)
    assert (told["alerts"], told["acts"], told["harm"]) == (2, 1, 0)
    assert told["prometheus"]["queries"] > 0


def test_a_step_beside_silent_members_is_counted_as_harm(tmp_path: Path) -> None:
    """AWS is assumed to have all members in service; `up` knew better."""
    server = PastServer(alerts=[_alert(1, 600, 60)], down={ID(2), ID(3), ID(4)})
    (decided,) = _run(tmp_path, server).decisions
    assert decided.harm == ["3 of 5 other members were not scraped"]


def test_what_people_and_deploys_did_is_told(tmp_path: Path) -> None:
    """By CloudTrail; a program that deploys is no person."""
    group = Group("web", 2, 12, 6)
    aws = Emulator(Core(lambda: NOW + 14_400))
    aws.world.add_group(group, [ID(number) for number in range(1, 7)], NOW - 86_400)
    aws.events = {
        ID(1): [_event("RebootInstances", ID(1), 900, "alice", "aws-cli/2.1")],
        # Later than the decision, which must not know it.
        ID(2): [_event("RebootInstances", ID(2), 6_030, "bob", "console")],
        "web": [
            _event("SetDesiredCapacity", "web", 930, "ci", "HashiCorp Terraform/1.9"),
            _event("StartInstanceRefresh", "web", 300, "ci", "aws-cli/2.1"),
        ],
    }
    server = PastServer(alerts=[_alert(1, 1_305, 300), _alert(2, 6_000, 60)])
    result = _run(tmp_path, server, aws=clients(aws))
    first, second = (one.id for one in result.incidents)
    assert result.people == {first: [], second: ["bob called RebootInstances"]}
    assert result.deploys == {first: 1_305 - 930, second: 6_000 - 930}
    text = "\n".join(report.as_text(result))
    assert "1 of 2 alerts within 20 minutes of a deploy" in text
    # Alice had rebooted the host seven minutes before: that is a change in progress.
    decided = {one.incident: one.summary for one in result.decisions}
    assert decided == {first: "refuse change_in_progress", second: "act reboot_instance"}


def _event(name: str, resource: str, at_s: float, who: str, agent: str) -> dict[str, Any]:
    detail = {"userAgent": agent, "requestParameters": {"name": resource}}
    return {
        "EventId": f"{name}{at_s}",
        "EventName": name,
        "EventTime": datetime.fromtimestamp(NOW + at_s, UTC),
        "ReadOnly": "false",
        "Username": who,
        "CloudTrailEvent": json.dumps(detail),
    }
