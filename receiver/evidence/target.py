"""The target of an alert."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actions.base import TargetKind
from actions.place import HOME, Place
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER


@dataclass(frozen=True, kw_only=True)
class SeriesLabels:
    """How series are selected, where the labels `instance_id` and `asg` do not do it.

    `own`, `siblings` and `members` are PromQL matchers: of an instance, of its peers, and of all
    that are in its group now. `label` tells hosts apart, and `ids` are the instances by its host.
    """

    label: str
    own: str
    siblings: str
    members: str
    ids: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An instance or a group; all fields are None where the alert's labels name neither.

    It is at `place`; not `placed` where the labels leave several and AWS was not asked. Its series,
    and those of its group, have the PromQL matchers `where`.
    `unread` is the call and code of a read of AWS that failed, which may have identified it.
    `doubt` says why AWS does not have what the labels name. `series` is None if its series have
    the labels `instance_id` and `asg`; `prometheus` has them, if it is not the usual one.
    `exporter` is whose metrics it has, `named_by` the first label that names it.
    """

    id: str | None = None
    kind: TargetKind | None = None
    group: str | None = None
    unread: str = ""
    doubt: str = ""
    place: Place = HOME
    placed: bool = True
    where: str = field(default="", compare=False)
    series: SeriesLabels | None = field(default=None, compare=False)
    prometheus: Prometheus | None = field(default=None, compare=False)
    exporter: Exporter = field(default=NODE_EXPORTER, compare=False)
    named_by: str = field(default="", compare=False)

    @property
    def placing(self) -> Mapping[str, str | None]:
        """Its account and region, as a run stores them."""
        return vars(self.place) if self.placed else dict.fromkeys(vars(HOME))

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
        others = f'asg="{self.group}",instance_id!="",instance_id!="{self.id}"'
        return f"{others},{self.where}" if self.where else others

    @property
    def members(self) -> str:
        """The PromQL matchers of the series of the group's instances; empty without a group."""
        if self.series is not None:
            return self.series.members
        if not self.group:
            return ""
        return f'asg="{self.group}",{self.where}' if self.where else f'asg="{self.group}"'

    @property
    def host_label(self) -> str:
        """The label that tells hosts apart."""
        return self.series.label if self.series else "instance_id"
