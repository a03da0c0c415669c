"""A short `bench.load.hostile`, without Prometheus and Alertmanager."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bench.load.service import Served, serve
from bench.load.strangers import Probe, Strangers
from bench.load.traffic import all_up
from demo.stack.processes import Processes, wait_announced
from receiver.http.access.callers import Role

_PLAYBOOK = """
name: reboot
match: ['alertname="Reboot"']
mode: auto
recheck: ['up{instance_id="$instance_id"} == bool 1']
steps: [{action: reboot_instance}]
verify: {expr: 'up{instance_id="$instance_id"} == bool 1', for: 0s, timeout: 30s}
"""


def _deliver(service: Served, host: dict[str, str]) -> None:
    """As Alertmanager, which tries again."""
    labels = {"alertname": "Reboot", "instance_id": host["instance_id"], "asg": host["asg"]}
    alert = {"status": "firing", "labels": labels, "annotations": {}}
    alert |= {"startsAt": datetime.now(UTC).isoformat(), "endsAt": "0001-01-01T00:00:00Z"}
    headers = {"Authorization": f"Bearer {service.tokens[Role.WEBHOOK]}"}
    transport = httpx.HTTPTransport(retries=3)
    with httpx.Client(transport=transport, headers=headers, timeout=10) as http:
        body = {"version": "4", "alerts": [alert]}
        http.post(f"{service.url}/webhook/alertmanager", json=body).raise_for_status()


def test_strangers_do_not_stop_a_remediation(tmp_path: Path) -> None:
    """Four times as many as connections are allowed, and megabytes of endless requests."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/reboot.yaml").write_text(_PLAYBOOK)
    with Processes(tmp_path / "logs") as processes, all_up() as prometheus:
        emulator = processes.start("aws", [sys.executable, "-m", "demo.aws.server", "--port", "0"])
        aws = wait_announced(emulator)["url"]
        service = serve(
            processes,
            tmp_path,
            "receiver",
            PLAYBOOKS=str(tmp_path / "playbooks"),
            PROMETHEUS_URL=prometheus,
            AWS=aws,
            MODE="auto",
            CLOUDTRAIL="false",
            MAX_CONNECTIONS="64",
        )
        fleet = httpx.get(f"{aws}/_sim/fleet", trust_env=False, timeout=60).json()["items"]
        with (
            Probe(service.url, service.child.pid) as probe,
            Strangers(service.url, connections=256, megabytes=8) as strangers,
        ):
            time.sleep(2)
            _deliver(service, fleet[0])
            until = time.monotonic() + 30
            while "RebootInstances" not in httpx.get(f"{aws}/_sim/calls", trust_env=False).text:
                assert time.monotonic() < until
                time.sleep(0.2)
        assert strangers.opened > 256
        assert strangers.sent > 2**20
        assert service.metric("smartcloudops_connections_refused_total") > 100
        assert probe.asked > 5
        assert probe.failed == 0
        assert probe.slowest_s < 3
        assert probe.peak_mb() < 400
