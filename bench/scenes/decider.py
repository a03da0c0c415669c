"""Decides on scenes with the service's code, a real Prometheus, records and an emulated AWS."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from ulid import ULID

from bench.scenes.backfill import series_of
from bench.scenes.remote_write import write
from bench.scenes.scene import Scene, Setting
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.stack import tools
from demo.stack.processes import Processes
from models.inference.artifact import load_shipped
from models.inference.detector import judge
from receiver.db.database import database
from receiver.decision.factory import PipelineFactory
from receiver.decision.model import Act, Ask, Refuse
from receiver.decision.pipeline import DecisionPipeline
from receiver.evidence.aws_state import AwsReader
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.playbooks.loader import load
from receiver.runs import intake
from receiver.settings import Mode, Settings
from receiver.webhook.episodes import Episode, QueuedAlert
from receiver.webhook.payload import Alert

_ROOT = Path(__file__).parents[2]
NOTHING = "nothing"


@dataclass(frozen=True)
class DecidedAlert:
    """The decision on one alert: action, target, and whether a person must approve."""

    action: str
    target: str
    approval: bool
    reason: str


def decide_scenes(scenes: Sequence[Scene], setting: Setting) -> list[Sequence[DecidedAlert]]:
    """The service's decision on each alert of the scenes, by scene."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name) / "logs") as processes:
        folder = Path(name)
        (folder / "prometheus.yml").write_text("scrape_configs: []\n")

        def serve(port: int) -> Sequence[str | Path]:
            return (
                tools.find("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=30d",
                # The head takes samples that are up to half of its first block old.
                "--storage.tsdb.min-block-duration=30d",
                "--storage.tsdb.max-block-duration=30d",
                "--web.enable-remote-write-receiver",
                f"--web.listen-address=127.0.0.1:{port}",
            )

        _, url = processes.start_on_port("prometheus", serve, ready="/-/ready")
        with httpx.Client(trust_env=False, timeout=60) as client:
            for scene in scenes:
                write(client, url, series_of(scene, setting))
        return _decide_all(scenes, setting, url, folder)


def _decide_all(
    scenes: Sequence[Scene], setting: Setting, url: str, folder: Path
) -> list[Sequence[DecidedAlert]]:
    now = setting.now
    aws = Emulator(Core(lambda: now))
    for scene in scenes:
        aws.world.groups |= scene.aws.groups
        aws.world.instances |= scene.aws.instances
    state = database(f"sqlite:///{folder}/state.db")
    state.migrate("state")
    episodes: dict[str, Episode] = {}
    with ThreadPoolExecutor(16) as pool, Prometheus(url, timeout_s=20) as prometheus:
        pipeline = PipelineFactory(
            settings=Settings(mode=Mode.AUTO, arming_required=False),
            playbooks=load(_ROOT / "playbooks"),
            database=state,
            aws=AwsReader(aws=clients(aws), pool=pool, trail=True),
            prometheus=prometheus,
            pool=pool,
            gather=MetricsReader(prometheus=prometheus, pool=pool, deadline_s=20).begin,
            judge=partial(judge, load_shipped()),
            episodes=lambda _: episodes,
            resolved=lambda _: (),
            clock=lambda: now,
        ).make()
        answers: list[Sequence[DecidedAlert]] = []
        for scene in scenes:
            queued = [_queue(scene, *alert, now) for alert in scene.alerts]
            with state.write() as connection:
                intake.insert_from_inbox(connection, queued, now)
            answers.append([_decide(pipeline, alert, episodes, now) for alert in queued])
        state.engine.dispose()
        return answers


def _queue(scene: Scene, name: str, target: str, now: float) -> QueuedAlert:
    group_wide = target == scene.name
    labels = {"alertname": name, "asg": scene.name, "severity": "critical"}
    if name in {"HighCPU", "HighMemory", "DiskSpaceLow"}:
        labels["severity"] = "warning"
    if not group_wide:
        labels["instance_id"] = target
    alert = Alert(
        key=str(ULID())[-16:],
        fingerprint="0" * 16,
        firing=True,
        labels=labels,
        annotations={},
        starts_at=now - scene.began_s,
        ends_at=None,
    )
    return QueuedAlert(id=str(ULID()), received_at=now - 1, alert=alert)


def _decide(
    pipeline: DecisionPipeline, waiting: QueuedAlert, episodes: dict[str, Episode], now: float
) -> DecidedAlert:
    run = intake.preview(waiting, now)
    episodes[run.id] = Episode(
        key=waiting.alert.key,
        run_id=run.id,
        starts_at=waiting.starts_at,
        last_seen_at=now - 1,
    )
    decision = pipeline.begin([run]).decide(run).decision
    if isinstance(decision, Refuse):
        return DecidedAlert(
            NOTHING, "", approval=False, reason=f"{decision.reason}: {decision.detail}"
        )
    if isinstance(decision, Act | Ask):
        plan = decision.plan
        return DecidedAlert(
            plan.step.action, plan.target, approval=isinstance(decision, Ask), reason=""
        )
    return DecidedAlert(NOTHING, "", approval=False, reason="only observed")
