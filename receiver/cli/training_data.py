"""Training data from the fleet's own history and from people's feedback on runs."""

from collections.abc import Iterator
from concurrent.futures import Executor

from models.features.evidence import Evidence
from models.training.labelled_sets import STEP_S, RecordedTarget, assemble_target
from receiver.db.database import Database
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.of_alert import roles_of_alert
from receiver.evidence.roles.promql import MEANS, of_instance, query
from receiver.evidence.target import Target as AlertTarget
from receiver.runs.feedback import Feedback, list_feedback
from receiver.runtime.rfc3339 import DAY_S

# Prometheus returns at most 11,000 points for each series.
_QUERY_S = 7 * DAY_S
_PAGE = 200
_INSTANCES = 'group by (instance_id, asg) (node_load1{instance_id!=""})'


def fleet(
    prometheus: Prometheus, *, now: float, days: int, most: int
) -> Iterator[tuple[RecordedTarget, str]]:
    """Instances with their group and their last days of metrics, with a row every minute.

    Roles with large gaps are left out. Raises PrometheusError.
    """
    samples = prometheus.instant_query(_INSTANCES, at=now)
    for sample in samples[:most]:
        name, group = sample.labels.get("instance_id", ""), sample.labels.get("asg", "")
        try:
            of = of_instance(name)
        except ValueError:
            continue
        target = _target(prometheus, name, of, int(now) // STEP_S * STEP_S, days)
        if target is not None:
            yield target, group or name


def _target(
    prometheus: Prometheus, name: str, of: str, end: int, days: int
) -> RecordedTarget | None:
    start = end - days * DAY_S
    parts = [
        (series.labels.get("role", ""), series.times, series.values)
        for part in range(start, end, _QUERY_S)
        for series in prometheus.range_query(
            query(of, MEANS),
            start=part,
            end=min(part + _QUERY_S - STEP_S, end),
            step=STEP_S,
            timeout_s=60,
        )
    ]
    return assemble_target(name, parts, start=start, end=end)


def outcomes(
    database: Database, prometheus: Prometheus, pool: Executor
) -> Iterator[tuple[Feedback, Evidence, frozenset[str], bool]]:
    """Runs with feedback: evidence at the decision, the alert's roles, whether it was an incident.

    Runs without metrics in Prometheus and runs with an undecided verdict are left out.
    """
    reader, before = MetricsReader(prometheus=prometheus, pool=pool), None
    while True:
        with database.read() as connection:
            page = list_feedback(connection, before=before, limit=_PAGE)
        for feedback in page:
            incident = _was_incident(feedback)
            if incident is None or feedback.target is None:
                continue
            roles = roles_of_alert(feedback.labels)
            target = AlertTarget(id=feedback.target, group=feedback.group)
            evidence = reader.gather(target, feedback.starts_at, roles)
            if evidence.history and evidence.recent:
                yield feedback, evidence, roles, incident
        if len(page) < _PAGE:
            return
        before = page[-1].run_id


def _was_incident(feedback: Feedback) -> bool | None:
    """Whether the person's feedback means that there was an incident."""
    if feedback.verdict == "confirmed":
        return feedback.right
    if feedback.verdict == "refuted":
        return not feedback.right
    return None
