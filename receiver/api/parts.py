"""The parts of the service that the API and the console use."""

from collections.abc import Callable
from typing import Protocol

from fastapi import Request
from prometheus_client import CollectorRegistry

from receiver.audit.continuity import Continuity
from receiver.audit.head_signer import HeadSigner
from receiver.controls.promotion import Promoter
from receiver.db.database import Database
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prometheus.client import Prometheus
from receiver.playbooks.loader import Playbooks
from receiver.runs.manual_runs import ManualRuns
from receiver.settings import Settings
from receiver.webhook.inbox import Inbox
from receiver.webhook.sns.subscriptions import Subscriptions
from receiver.workflow.commands import RunCommands
from receiver.workflow.lifecycle import Lifecycle


class Parts(Protocol):
    settings: Settings
    playbooks: Playbooks
    database: Database
    prometheus: Prometheus
    model_server: ModelServer
    lifecycle: Lifecycle
    commands: RunCommands
    manual_runs: ManualRuns
    promoter: Promoter
    head_signer: HeadSigner
    continuity: Continuity

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def subscriptions(self) -> Subscriptions: ...

    @property
    def registry(self) -> CollectorRegistry: ...

    def checks(self) -> dict[str, str]: ...

    def refresh_gauges(self) -> None: ...


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts
