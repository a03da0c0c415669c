"""Whole runs on scenes in virtual time: the service, a real Prometheus, and the emulated AWS."""

import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cached_property, partial
from pathlib import Path

import httpx
import structlog
from pydantic import HttpUrl

from actions.messaging import NullMessenger
from backtest.virtual_time import AtOnce, HeldQueue
from bench.scenes.backfill import series_of
from bench.scenes.performed import SCENE, Performed, owed, read_performed
from bench.scenes.remote_write import write
from bench.scenes.scene import Scene, Setting
from bench.scenes.stage import SCRAPE_S, Stage
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Timings, harsh
from demo.aws.world import SecurityGroup
from demo.stack import tools
from demo.stack.processes import Processes
from models.inference.artifact import load_shipped
from models.inference.detector import judge
from receiver.edges import Edges
from receiver.playbooks.loader import load
from receiver.runs import intake
from receiver.runs.model import Run, State
from receiver.runs.queries import search
from receiver.runtime.rfc3339 import rfc3339
from receiver.service import Service
from receiver.settings import Mode, Settings
from receiver.system import build
from receiver.webhook.payload import parse_alert
from receiver.workflow.endings.debt_runner import DebtRunner

_ROOT = Path(__file__).parents[2]
_PLAYBOOKS = (_ROOT / "playbooks", Path(__file__).parent / "playbooks")
# A run is given this long; a refresh of a large group, say, may take longer.
LASTS_S = 7_200.0
# Alertmanager's group_interval.
_REPEATED_S = 300.0
# EC2's and Systems Manager's own paces; a group's drains and launches are short.
_TIMINGS = Timings(command_s=20.0, boot_s=45.0, launch_s=60.0, move_s=5.0)


def perform(
    scenes: Sequence[Scene],
    setting: Setting,
    seed: int,
    make: "Callable[..., Play] | None" = None,
) -> list[Performed]:
    """Play the scenes side by side, each in its own group, on an AWS that is harsh by the seed.

    `make` makes another kind of play, which may look back while its Prometheus still answers.
    """
    structlog.configure(
        processors=[_only_errors], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
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
            return (make or Play)(
                scenes=scenes, setting=setting, seed=seed, folder=folder, url=url, client=client
            ).play()


def _only_errors(_: object, __: str, event: structlog.typing.EventDict) -> str:
    """An error that the service has caught, with its traceback; nothing else."""
    if not event.get("exc_info"):
        raise structlog.DropEvent
    return f"{event['event']} {event.get('run', '')}: {traceback.format_exc()}"


@dataclass(kw_only=True)
class Play:
    scenes: Sequence[Scene]
    setting: Setting
    seed: int
    folder: Path
    url: str
    client: httpx.Client
    now: float = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.setting.now
        # Each scene has the rate limits of a region of its own. It says itself which documents
        # fail, because another step is right then.
        hardness, regions = harsh(self.seed), len(self.scenes)
        hardness = replace(
            hardness,
            burst=hardness.burst * regions,
            refill=hardness.refill * regions,
            failing=0.0,
        )
        self.aws = Emulator(Core(self.clock, _TIMINGS, hardness, self.seed))
        for scene in self.scenes:
            self.aws.world.groups |= scene.aws.groups
            self.aws.world.instances |= scene.aws.instances
            self.aws.world.target_groups |= scene.aws.target_groups
            self.aws.events[scene.name] = scene.events
            for fault in scene.faults:
                self.aws.faults.inject(fault)
        # Their groups replace them whatever anybody does.
        self.doomed = {
            member.id
            for group in self.aws.world.groups.values()
            for member in group.members.values()
            if member.health == "Unhealthy"
        }
        isolation = SecurityGroup("sg-0123456789abcdef0", name="smartcloudops-isolation")
        self.aws.world.security_groups[isolation.id] = isolation
        self.stage = Stage(self.aws, self.scenes, self.setting, self.client, self.url)
        self.prometheus = httpx.Client(
            trust_env=False, timeout=60, event_hooks={"response": [self._date]}
        )
        self.queue = HeldQueue(clock=self.clock)
        for playbooks in _PLAYBOOKS:
            shutil.copytree(playbooks, self.folder / "playbooks", dirs_exist_ok=True)

    def clock(self) -> float:
        return self.now

    def _date(self, response: httpx.Response) -> None:
        """Prometheus shows the virtual time."""
        response.headers["Date"] = formatdate(self.now, usegmt=True)

    @property
    def settings(self) -> Settings:
        return Settings(
            database_url=f"sqlite:///{self.folder}/state.db",
            prometheus_url=HttpUrl(self.url),
            playbooks=self.folder / "playbooks",
            mode=Mode.AUTO,
            audit_archive=str(self.folder / "audit"),
            arming_required=False,
        )

    @cached_property
    def service(self) -> Service:
        edges = Edges(
            aws=clients(self.aws),
            messenger=NullMessenger(),
            prometheus=self.prometheus,
            judge=partial(judge, load_shipped()),
            queue=self.queue.serve,
            pool=AtOnce,
            clock=self.clock,
            monotonic=self.clock,
        )
        return build(self.settings, load(self.folder / "playbooks"), edges)

    @cached_property
    def debts(self) -> DebtRunner:
        tasks = self.service.leader_tasks
        return next(task for task in tasks if isinstance(task, DebtRunner))

    def play(self) -> list[Performed]:
        service, playing = self.service, list(self.scenes)
        service.database.migrate("state")
        service.inbox.database.migrate("inbox")
        service.inbox.start()
        delivered_at, repeat_at = self.now, self.now
        performed: dict[str, Performed] = {}
        while playing and self.now < self.setting.now + LASTS_S:
            if self.now >= repeat_at:
                self._deliver(playing)
                delivered_at, repeat_at = self.now, self.now + _REPEATED_S
            self._work()
            self.debts.run_once()
            self.now += SCRAPE_S
            for scene in playing:
                if scene.meddle is not None:
                    scene.meddle(self.aws, scene)
            self.tick(playing)
            going, asking = self._unfinished(), self._asking()
            throttled = self.aws.throttled_at >= delivered_at
            for scene in [*playing]:
                waits = throttled and scene.name not in asking and self._fires(scene)
                if scene.name not in going and not waits:
                    performed[scene.name] = self._read(scene)
                    playing.remove(scene)
        ended = {scene.name: self._read(scene) for scene in self.scenes}
        # What a group does after its scene counts, too.
        performed = {
            name: replace(performed.get(name, last), lost=last.lost, owed=last.owed)
            for name, last in ended.items()
        }
        service.inbox.stop()
        service.database.engine.dispose()
        service.inbox.database.engine.dispose()
        self.prometheus.close()
        return [performed[scene.name] for scene in self.scenes]

    def tick(self, playing: Sequence[Scene]) -> None:
        """Let AWS and the hosts go on until now."""
        self.stage.tick(playing)

    def _read(self, scene: Scene) -> Performed:
        database = self.service.database
        return read_performed(scene, self._runs(), database, self.aws, self.doomed)

    def _deliver(self, scenes: Sequence[Scene]) -> None:
        """The alerts that fire, as Alertmanager repeats them."""
        alerts = []
        for scene, labels in self.firing(scenes):
            raw = {"status": "firing", "labels": labels, "annotations": {}}
            began = rfc3339(self.setting.now - scene.began_s)
            alert = parse_alert(raw | {"startsAt": began}, self.now)
            if alert is not None:
                alerts.append(alert)
        inbox = self.service.inbox
        inbox.submit(alerts, self.now).result()
        queued = inbox.queued()
        with self.service.database.write() as connection:
            intake.insert_from_inbox(connection, queued, self.now)
        inbox.remove([alert.id for alert in queued])

    def firing(self, scenes: Sequence[Scene]) -> Iterator[tuple[Scene, Mapping[str, str]]]:
        """The labels of the alerts that fire."""
        for scene in scenes:
            for name, target in scene.alerts:
                if self.now == self.setting.now or self.stage.is_ill(target):
                    severity = "warning" if name in _WARNINGS else "critical"
                    labels = {"alertname": name, "severity": severity, SCENE: scene.name}
                    yield scene, labels | dict(scene.alert_labels(target))

    def _fires(self, scene: Scene) -> bool:
        """Whether an alert is to come again: another chance for what AWS throttled."""
        return any(self.stage.is_ill(target) for _, target in scene.alerts)

    def _work(self) -> None:
        while True:
            self.service.dispatcher.dispatch()
            phase = self.queue.due()
            if phase is None:
                return
            self.queue.handle(phase)
            self.queue.done(phase)

    def _runs(self) -> list[Run]:
        with self.service.database.read() as connection:
            return list(search.list_runs(connection, limit=2_000))

    def _asking(self) -> set[str]:
        """Groups with a run that waits for a person, who never answers here."""
        waiting = (run for run in self._runs() if run.state is State.AWAITING_APPROVAL)
        return {run.labels[SCENE] for run in waiting}

    def _unfinished(self) -> set[str]:
        """Groups with a run that goes on, or that are short of a process they had."""
        going = {
            run.labels[SCENE]
            for run in self._runs()
            if not run.state.ended and run.state is not State.AWAITING_APPROVAL
        }
        return going | {scene.name for scene in self.scenes if owed(self.aws, scene)}


_WARNINGS = frozenset({"DiskSpaceLow", "HighCPU", "HighMemory"})
