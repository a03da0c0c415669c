"""Explains the decision on an alert: the real decision, without its consequences."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, assert_never

from ulid import ULID

from actions.aws import clients as aws
from receiver.db.database import open_or_empty
from receiver.decision.factory import PipelineFactory
from receiver.decision.model import Act, Ask, Observe, Refuse
from receiver.decision.pipeline import DecisionPipeline, PipelineResult
from receiver.decision.stored_plan import to_stored
from receiver.evidence.accounts.file import load as load_accounts
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.model_server import ModelServer
from receiver.evidence.prometheus.connect import connect
from receiver.evidence.targets.rules import TargetRules
from receiver.evidence.targets.series import SeriesFinder
from receiver.playbooks.loader import Playbooks
from receiver.runs import intake
from receiver.settings import Settings
from receiver.webhook import grafana, payload
from receiver.webhook.episodes import Episode, QueuedAlert
from receiver.webhook.grafana import GrafanaEnvelope
from receiver.webhook.payload import Alert, NotJsonError, WrongShapeError
from receiver.webhook.truncated import active_alert


class PayloadError(Exception):
    """The text is not a delivery; the error has the reason."""


def parse_delivery(body: bytes, now: float) -> Sequence[Alert | None]:
    """The alerts of a delivery of Alertmanager or of Grafana. Raises PayloadError."""
    try:
        envelope = payload.parse_envelope(body)
    except NotJsonError as error:
        raise PayloadError(str(error)) from None
    except WrongShapeError as error:
        try:
            envelope = payload.parse_envelope(body, GrafanaEnvelope)
        except WrongShapeError:
            raise PayloadError(str(error)) from None
        return [grafana.parse_alert(raw, now) for raw in envelope.alerts]
    return [payload.parse_alert(raw, now) for raw in envelope.alerts]


def parse_active(listed: Sequence[Mapping[str, Any]], now: float) -> Sequence[Alert | None]:
    """The alerts that Alertmanager's API lists as active."""
    return [payload.parse_alert(active_alert(raw), now) for raw in listed]


def explain(
    alerts: Sequence[Alert | None], settings: Settings, playbooks: Playbooks, now: float
) -> Sequence[dict[str, Any]]:
    """For each alert: `alert`, `decision`, `refusal`, `detail`, `plan`, `verdict` and `gates`.

    It reads Prometheus, AWS and the service's own records; a fact that cannot be read is unknown,
    as in the service.

    Raises DatabaseUrlError, InvalidTargetsError, InvalidAccountsError or InvalidServersError.
    """
    episodes: dict[str, Episode] = {}
    with (
        open_or_empty(settings.database_url) as state,
        ThreadPoolExecutor(4 * settings.workers) as queries,
        connect(settings) as prometheus,
    ):
        clients, rules = aws.connect(), TargetRules.of(settings)
        accounts = load_accounts(settings.accounts)
        readers = AwsReaders(
            aws_at=aws.PlaceClients(clients, accounts.accesses).at,
            accounts=accounts,
            pool=queries,
            trail=settings.cloudtrail,
            standalone_percent=settings.standalone_budget,
        )
        pipeline = PipelineFactory(
            settings=settings,
            playbooks=playbooks,
            rules=rules,
            database=state,
            aws=readers,
            prometheus=prometheus,
            series=SeriesFinder(aws=readers, prometheus=prometheus, rules=rules, clock=lambda: now),
            pool=queries,
            gather=MetricsReader(prometheus=prometheus, pool=queries).begin,
            judge=ModelServer(settings.model, settings.model_manifest, lambda: clients).judge,
            episodes=lambda _: episodes,
            resolved=lambda _: (),
            is_active=lambda _: None,
            clock=lambda: now,
        ).make()
        return [_answer(alert, pipeline, episodes, now) for alert in alerts]


def as_text(answer: dict[str, Any]) -> str:
    """An answer of `explain` as text for a person."""
    decision = " ".join(filter(None, (answer["decision"], answer["refusal"])))
    gates = (
        f"  {'pass' if gate['passed'] else 'STOP'}  {gate['name']:<10} {gate['detail']}"
        for gate in answer["gates"]
    )
    return "\n".join([f"{answer['alert']}: {decision}", f"  {answer['detail']}", *gates])


def _answer(
    alert: Alert | None, pipeline: DecisionPipeline, episodes: dict[str, Episode], now: float
) -> dict[str, Any]:
    if alert is None:
        return {
            "alert": "(an alert without labels)",
            "decision": "rejected",
            "refusal": None,
            "detail": "the alert has no labels",
            "plan": None,
            "verdict": None,
            "gates": [],
        }
    queued = QueuedAlert(id=str(ULID()), received_at=now, alert=alert)
    run = intake.preview(queued, now)
    episodes[run.id] = Episode(
        key=alert.key,
        run_id=run.id,
        starts_at=queued.starts_at,
        last_seen_at=now,
        resolved_at=None if alert.firing else now,
    )
    result = pipeline.begin([run]).decide(run)
    target = result.target.id or "no target"
    return {
        "alert": f"{alert.labels.get('alertname', '(no alertname)')} {target}",
        "verdict": asdict(result.verdict) if result.verdict else None,
        "gates": [asdict(gate) for gate in result.decision.gates],
        **_decided(result, alert),
    }


def _decided(result: PipelineResult, alert: Alert) -> dict[str, Any]:
    decision = result.decision
    match decision:
        case Act() | Ask() | Observe():
            name = type(decision).__name__.lower()
            plan = to_stored(decision.plan, "", alert.labels)
            detail = f"{plan.action} on {plan.target}"
            return {"decision": name, "refusal": None, "detail": detail, "plan": asdict(plan)}
        case Refuse():
            reason = str(decision.reason)
            return {
                "decision": "refuse",
                "refusal": reason,
                "detail": decision.detail,
                "plan": None,
            }
    assert_never(decision)
