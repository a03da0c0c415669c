"""The target of an alert."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actions.base import TargetKind
from models.features.promql import NODE_EXPORTER, Exporter
from receiver.evidence.prometheus.client import Prometheus


@dataclass(frozen=True, kw_only=True)
class SeriesLabels:
    """How the series of an instance and of its peers are selected, where `instance_id` is none.

    `own` and `siblings` are PromQL matchers; `label` tells hosts apart, and `ids` are the instances
    by its host.
    """

    label: str
    own: str
    siblings: str
    ids: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An instance or a group; all fields are None where the alert's labels name neither.

    `unread` is the call and code of a read of AWS that failed, which may have identified it.
    `doubt` says why AWS does not have what the labels name. `series` is None if its series have
    the labels `instance_id` and `asg`; `prometheus` has them, if it is not the usual one.
    `exporter` is whose metrics it has.
    """

    id: str | None = None
    kind: TargetKind | None = None
    group: str | None = None
    unread: str = ""
    doubt: str = ""
    series: SeriesLabels | None = field(default=None, compare=False)
    prometheus: Prometheus | None = field(default=None, compare=False)
    exporter: Exporter = field(default=NODE_EXPORTER, compare=False)

    @property
    def is_usual(self) -> bool:
        """Whether its series are node_exporter's, with the labels `instance_id` and `asg`."""
        return self.series is None and self.exporter is NODE_EXPORTER

    @property
    def selector(self) -> str:
        """The PromQL matchers of an instance's series; empty for any other target."""
        if self.series is not None:
            return self.series.own
        return f'instance_id="{self.id}"' if self.kind is TargetKind.INSTANCE else ""

    @property
    def siblings(self) -> str:
        """The PromQL matchers of the series of an instance's siblings; empty without a group."""
        if self.series is not None:
            return self.series.siblings
        if self.kind is not TargetKind.INSTANCE or not self.group:
            return ""
        return f'asg="{self.group}",instance_id!="",instance_id!="{self.id}"'
