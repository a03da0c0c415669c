"""`make soak`: loads a receiver steadily for minutes; none of its resources may grow.

Alerts fire, repeat and resolve. Most are refused, some make the receiver read AWS, and a few make
it reboot a host of the emulated AWS. Retention is the shortest possible, and the audit is exported
and pruned regularly, as operators do.
"""

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.load.service import Served, serve
from bench.load.steady_load import Sample, SoakCounts, SoakReport, evaluate
from bench.load.traffic import Traffic, all_up
from demo.stack.processes import Processes, wait_announced
from receiver.http.access.callers import Role

_OUT = Path("build/soak.json")
# The service keeps records at least this long, whatever the setting.
KEPT_S = 600.0
_SAMPLES, _EXPORT_EVERY_S, _PATIENCE_S = 120, 150.0, 120.0
_PLAYBOOK = """
name: soak
match: ['alertname="Soak"']
mode: auto
cooldown: 60s
limits:
  target_per_hour: 1000
  target_per_day: 1000
  group_per_hour: 1000
  playbook_per_hour: 1000
  relapse: 0s
recheck: ['up{instance_id="$instance_id"} == bool 1']
steps: [{action: reboot_instance}]
verify: {expr: 'up{instance_id="$instance_id"} == bool 1', for: 0s, timeout: 30s}
"""


def soak(folder: Path, minutes: float) -> SoakReport:
    """Load a receiver for `minutes`. Raises ProcessError."""
    (folder / "playbooks").mkdir()
    (folder / "playbooks/soak.yaml").write_text(_PLAYBOOK)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    audit = {"AUDIT_KEY_FILE": str(folder / "key.pem"), "AUDIT_ARCHIVE": str(folder / "audit")}
    with Processes(folder / "logs") as processes, all_up() as prometheus:
        emulator = processes.start("aws", [sys.executable, "-m", "demo.aws.server", "--port", "0"])
        aws = wait_announced(emulator)["url"]
        service = serve(
            processes,
            folder,
            "soak",
            PLAYBOOKS=str(folder / "playbooks"),
            PROMETHEUS_URL=prometheus,
            AWS=aws,
            MODE="auto",
            CLOUDTRAIL="false",
            RETENTION_DAYS="0.001",
            VERIFY_INTERVAL_S="1",
            LOG_LEVEL="warning",
            **audit,
        )
        fleet = httpx.get(f"{aws}/_sim/fleet", trust_env=False, timeout=60).json()["items"]
        hosts = [(host["instance_id"], host["asg"]) for host in fleet]
        with Traffic(service.url, service.tokens[Role.WEBHOOK], hosts) as traffic:
            samples = _watch(processes, folder, service, minutes * 60, audit)
        _wait_ended(service, traffic.accepted)
        counts = SoakCounts(
            accepted=traffic.accepted,
            failed=traffic.failed,
            ended=int(service.metric("smartcloudops_runs_total")),
            acted=int(service.metric("smartcloudops_actions_total")),
            removed=int(service.metric("smartcloudops_retention_removed_total")),
            audit_holds=bool(service.get("/api/v1/audit/verify").json()["ok"]),
        )
        return evaluate(samples, traffic.answers, counts, kept_s=KEPT_S)


def _watch(
    processes: Processes, folder: Path, service: Served, seconds: float, audit: Mapping[str, str]
) -> list[Sample]:
    """Take samples for `seconds`, and export and prune the audit meanwhile."""
    samples, began = list[Sample](), time.monotonic()
    last_export = began
    for number in range(1, _SAMPLES + 1):
        time.sleep(max(0.0, began + number * seconds / _SAMPLES - time.monotonic()))
        samples.append(_sample(folder, service))
        if time.monotonic() - last_export > _EXPORT_EVERY_S:
            last_export = time.monotonic()
            _export_and_prune(processes, folder, audit)
    return samples


def _sample(folder: Path, service: Served) -> Sample:
    process = Path(f"/proc/{service.child.pid}")
    return Sample(
        at=time.monotonic(),
        rss_mb=service.resident_mb(),
        handles=len(list((process / "fd").iterdir())),
        threads=len(list((process / "task").iterdir())),
        database_mb=sum(_used(file) for file in folder.glob("state*.db")) / 2**20,
    )


def _used(file: Path) -> int:
    """Bytes in use by records; the file's size never shrinks."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _export_and_prune(processes: Processes, folder: Path, audit: Mapping[str, str]) -> None:
    """Run the export and prune commands that an operator would schedule."""
    settings = {"DATABASE_URL": f"sqlite:///{folder}/state.db", **audit}
    env = [f"SMARTCLOUDOPS_{name}={value}" for name, value in settings.items()]
    for command in (["export"], ["prune", "--older-than", f"{KEPT_S / 60:.0f}m"]):
        arguments = ["env", *env, sys.executable, "-m", "receiver", "audit", *command]
        processes.run("audit", arguments, timeout_s=120)


def _wait_ended(service: Served, accepted: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    while service.metric("smartcloudops_runs_total") < accepted and time.monotonic() < until:
        time.sleep(0.5)


def main() -> int:
    """Run the soak. Returns 0 if no resource grew and no run was lost."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        report = soak(Path(scratch), minutes)
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(asdict(report) | {"sound": report.sound}, indent=2) + "\n")
    click.echo(report.table())
    return int(not report.sound)


if __name__ == "__main__":
    sys.exit(main())
