"""The parts of the service that the API and the console use."""

from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from fastapi import HTTPException, Request
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from actions.place import Place
from receiver.audit.continuity import Continuity
from receiver.audit.head_signer import HeadSigner
from receiver.controls.promotion import Promoter
from receiver.db.database import Database
from receiver.db.leader_election import Leadership
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prometheus.client import Prometheus
from receiver.http.access.auth import caller_of, require_on
from receiver.http.access.callers import Role
from receiver.playbooks.loader import Playbooks
from receiver.runs.manual_runs import ManualRuns
from receiver.runs.queries import listing
from receiver.runs.subjects import subjects_by_run, subjects_of
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


def may_see_runs(
    request: Request, connection: Connection, run_ids: Collection[str]
) -> frozenset[str]:
    """Those of the runs that the caller may see."""
    who = caller_of(request)
    if who.may_everywhere(Role.VIEWER):
        return frozenset(run_ids)
    subjects = subjects_by_run(connection, run_ids)
    return frozenset(
        run_id for run_id, subject in subjects.items() if who.may_on(Role.VIEWER, subject)
    )


def require_on_run(request: Request, run_id: str, needed: Role) -> None:
    """Raise HTTPException unless the caller's role extends to the run, if there is one."""
    if caller_of(request).may_everywhere(needed):
        return
    parts = parts_of(request)
    with parts.inbox.database.read() as inbox, parts.database.read() as connection:
        run = listing.get(connection, inbox, run_id)
    if run is not None:
        require_on(request, needed, *subjects_of(run))


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
