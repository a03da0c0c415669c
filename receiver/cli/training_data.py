"""A user's own data to learn from: the fleet's history, and what people said of runs."""

from collections.abc import Iterator
from concurrent.futures import Executor

from models.features.evidence import Evidence
from models.features.promql import MEANS, of_instance, query
from models.features.signals import ROLES_OF_ALERT
from models.training.labelled_sets import STEP_S, RecordedTarget, assemble_target
from receiver.db.database import Database
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.target import Target as AlertTarget
from receiver.runs.feedback import Feedback, list_feedback
from receiver.runtime.rfc3339 import DAY_S

# Prometheus answers at most 11,000 points a series.
_PART_S = 7 * DAY_S
_PAGE = 200
_INSTANCES = 'group by (instance_id, asg) (node_load1{instance_id!=""})'


def fleet(
    prometheus: Prometheus, *, now: float, days: int, most: int
) -> Iterator[tuple[RecordedTarget, str]]:
    """Instances with their group and their last days, a row a minute.

    Roles with large gaps are left out. Raises PrometheusError.
    """
    found = prometheus.instant_query(
        'group by (instance_id, asg) (node_load1{instance_id!=""})', at=now
    )
    for sample in found[:most]:
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
        for part in range(start, end, _PART_S)
        for series in prometheus.range_query(
            query(of, MEANS),
            start=part,
            end=min(part + _PART_S - STEP_S, end),
            step=STEP_S,
            timeout_s=60,
        )
    ]
    return assemble_target(name, parts, start=start, end=end)


def outcomes(
    database: Database, prometheus: Prometheus, pool: Executor
) -> Iterator[tuple[Feedback, Evidence, frozenset[str], bool]]:
    """What people judged: the evidence of that moment, the alert's roles, whether an incident.

    Left out is what Prometheus no longer knows, and what was said of an undecided verdict.
    """
    reader, before = MetricsReader(prometheus=prometheus, pool=pool), None
    while True:
        with database.read() as connection:
            page = list_feedback(connection, before=before, limit=_PAGE)
        for one in page:
            incident = _incident(one)
            if incident is None or one.target is None:
                continue
            roles = ROLES_OF_ALERT.get(one.labels.get("alertname", ""), frozenset())
            target = AlertTarget(id=one.target, group=one.group)
            evidence = reader.gather(target, one.starts_at, roles)
            if evidence.history and evidence.recent:
                yield one, evidence, roles, incident
        if len(page) < _PAGE:
            return
        before = page[-1].run_id


def _incident(one: Feedback) -> bool | None:
    """Agreeing with an act says that there was an incident, and so does disagreeing with none."""
    if one.verdict == "confirmed":
        return one.right
    if one.verdict == "refuted":
        return not one.right
    return None
