"""The alerts that Prometheus itself fires, which a sender of deliveries cannot forge."""

from collections.abc import Collection

from actions.aws.groups import GROUP_NAME
from actions.aws.instances import INSTANCE_ID
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus

# An alert's name and target: an instance's id, or a group's name.
FiringAlert = tuple[str, str]


def read_firing(
    prometheus: Prometheus, targets: Collection[str], at: float
) -> frozenset[FiringAlert] | None:
    """The firing alerts about these targets; None where Prometheus has no answer.

    Source of `ALERTS`: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules
    """
    instances = "|".join(sorted(filter(INSTANCE_ID.fullmatch, targets)))
    parts = [f'ALERTS{{alertstate="firing",instance_id=~"{instances}"}}'] if instances else []
    # A group's name has no quote and no backslash.
    parts += [
        f'ALERTS{{alertstate="firing",instance_id="",asg="{name}"}}'
        for name in sorted(filter(GROUP_NAME.fullmatch, targets))
        if not INSTANCE_ID.fullmatch(name)
    ]
    try:
        samples = prometheus.instant_query(" or ".join(parts), at=at)
    except PrometheusError:
        return None
    return frozenset(
        (labels.get("alertname", ""), labels.get("instance_id") or labels.get("asg", ""))
        for labels in (sample.labels for sample in samples)
    )
