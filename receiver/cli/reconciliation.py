"""The comparison of the ledger with CloudTrail, for `audit reconcile` and `report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from actions.assurance import cloudtrail, reconcile
from actions.assurance.reconcile import Finding, Reconciliation
from actions.aws import clients
from actions.execution import ledger
from receiver.db.database import database
from receiver.evidence.accounts import file as accounts_file
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Settings


def reconcile_ledger(
    loaded: Settings, files: Sequence[Path], roles: Sequence[str], *, since: float, now: float
) -> Reconciliation:
    """Compare the ledger with CloudTrail. Raises TrailError, and errors of AWS and the database."""
    if not files:
        return _look_up(loaded, roles, since=since, now=now)
    calls = [call for file in files for call in cloudtrail.read_file(file)]
    with database(loaded.database_url).read() as connection:
        entries = ledger.sent_since(connection, since - reconcile.TOLERANCE_S)
    late = any(call.late for call in calls)
    # A file has no calls that were sent after it was written.
    until = min(now, max((file.stat().st_mtime for file in files), default=now))
    own_calls = reconcile.select_own(calls, roles)
    return reconcile.reconcile(entries, own_calls, since=since, until=until, late=late)


def _look_up(loaded: Settings, roles: Sequence[str], *, since: float, now: float) -> Reconciliation:
    """The steps of each place, compared with its own CloudTrail."""
    accounts = accounts_file.load(loaded.accounts)
    aws_at = clients.PlaceClients(clients.connect(), accounts.accesses).at
    with database(loaded.database_url).read() as connection:
        entries = ledger.sent_since(connection, since - reconcile.TOLERANCE_S)
    results = []
    for place in accounts.places:
        calls = reconcile.select_own(cloudtrail.look_up_calls(aws_at(place), since, now), roles)
        here = [entry for entry in entries if entry.place == place]
        results.append(reconcile.reconcile(here, calls, since=since, until=now, late=True))
    return Reconciliation(
        calls=sum(result.calls for result in results),
        entries=sum(result.entries for result in results),
        pending=sum(result.pending for result in results),
        findings=[finding for result in results for finding in result.findings],
    )


def reconciliation_json(result: Reconciliation) -> dict[str, Any]:
    findings = [
        {**to_jsonable_python(finding), "at": rfc3339(finding.at)} for finding in result.findings
    ]
    return {"ok": not findings, **vars(result), "findings": findings}


def finding_line(finding: Finding) -> str:
    run = f" of run {finding.run_id}" if finding.run_id else ""
    caller = f" by {finding.who}" if finding.who else ""
    kind = str(finding.kind).replace("_", " ")
    names = ", ".join(finding.names)
    return f"{rfc3339(finding.at)} {kind}: {finding.what}{run}{caller}: {names}"
