"""The parts of the service that the API and the console use."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from fastapi import HTTPException, Request
from prometheus_client import CollectorRegistry

from actions.place import Place
from receiver.audit.continuity import Continuity
from receiver.audit.head_signer import HeadSigner
from receiver.controls.promotion import Promoter
from receiver.db.database import Database
from receiver.db.leader_election import Leadership
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prometheus.client import Prometheus
from receiver.playbooks.loader import Playbooks
from receiver.runs.manual_runs import ManualRuns
from receiver.settings import Settings
from receiver.watch.scores import Scores
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
    leadership: Leadership
    aws_readers: AwsReaders
    watch_scores: Scores

    @property
    def places(self) -> Sequence[Place]: ...

    @property
    def unusable(self) -> Mapping[Place, str]: ...

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


def require_known(request: Request, account: str | None, region: str | None) -> Place:
    """The account and region as a filter: empty is any. Raises HTTPException where none fits."""
    wanted = Place(account or "", region or "")
    if not any(place.is_within(wanted) for place in parts_of(request).places):
        detail = "the account and region are not in the file of accounts"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return wanted


def the_place(request: Request, account: str | None, region: str | None) -> Place:
    """The only place that fits. Raises HTTPException where none does, or several."""
    wanted = require_known(request, account, region)
    fitting = [place for place in parts_of(request).places if place.is_within(wanted)]
    if len(fitting) > 1:
        named = ", ".join(map(str, fitting))
        detail = f"account and region are needed: it may be in {named}"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return fitting[0]
