"""Finds the labels by which the series of a target, and of its peers, are selected."""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from actions.aws.instances import Instance
from actions.aws.tags import GROUP_TAG
from actions.base import TargetKind
from actions.place import Place
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.expressions import one_of
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.target import SeriesLabels, Target
from receiver.evidence.targets.mapping import InstanceLabel
from receiver.evidence.targets.readings import read_name
from receiver.evidence.targets.rules import TargetRules
from receiver.runtime.cache import BoundedCache

# Labels that were found serve this long: people change the relabelling, and the rules.
_LASTS_S = 300.0
# A verification looks every few seconds, and EC2 limits the rate of its reads.
_PRESENT_LASTS_S = 20.0
_USUAL, _GROUP = "instance_id", "asg"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class FoundSeries:
    """How a target's series are selected, None by `instance_id` and `asg`; and whose they are."""

    labels: SeriesLabels | None
    exporter: Exporter


@dataclass(frozen=True, kw_only=True)
class SeriesFinder:
    """Asks Prometheus for the labels, and the exporter, of a target's series.

    An alert with the labels `instance_id` and `asg` comes from series that have them; with one
    exporter nothing is asked then.
    """

    aws: AwsReaders
    prometheus: Prometheus
    rules: TargetRules
    clock: Callable[[], float] = time.time
    _present: BoundedCache[tuple[Place, str], tuple[float, Sequence[Instance]]] = field(
        default_factory=BoundedCache, init=False
    )
    _found: BoundedCache[tuple[Place, str], tuple[float, FoundSeries]] = field(
        default_factory=BoundedCache, init=False
    )

    def find(self, target: Target, labels: Mapping[str, str]) -> FoundSeries:
        """The series of the target; the usual ones where nothing tells of others."""
        usual = FoundSeries(labels=None, exporter=self.rules.exporters[0])
        named = labels.get(_USUAL) == target.id and labels.get(_GROUP) == target.group
        if target.id is None or (named and len(self.rules.exporters) == 1):
            return usual
        now = self.clock()
        key = (target.place, target.id)
        found_at, found = self._found.get(key, (0.0, None))
        if found is None or not 0 <= now - found_at < _LASTS_S:
            prometheus, own = self.prometheus.of(labels), [_usual(target)]
            found = None
            if target.kind is TargetKind.GROUP:
                # An alert on a group may come from series of its own: its hosts' are asked for.
                found = self._find(own, prometheus, now)
            if found is None:
                others = [] if named else self._candidates(target)
                found = self._find([*own, *others], prometheus, now)
            if found is not None:
                self._found[key] = now, found
        return found or usual

    def members(self, place: Place, group: str, label: str) -> str:
        """The matchers of the series of the group's present instances, told apart by the label.

        Empty where AWS does not answer, or has none.
        """
        present = self._members(place, group)
        for one in self.rules.mapping.instances:
            hosts = [host for instance in present for host in _hosts(one, instance)]
            if one.label == label and hosts:
                return _matchers(label, hosts, self._where(present))
        return ""

    def _find(
        self, candidates: Sequence[SeriesLabels], prometheus: Prometheus, now: float
    ) -> FoundSeries | None:
        """None if Prometheus does not answer, or if no label fits."""
        pairs = [(labels, exporter) for labels in candidates for exporter in self.rules.exporters]
        parts = [
            f"label_replace(count({exporter.presence_of(labels.own or labels.members)}), "
            f'"n", "{number}", "", "")'
            for number, (labels, exporter) in enumerate(pairs)
        ]
        try:
            samples = prometheus.instant_query(" or ".join(parts), at=now) if parts else ()
        except PrometheusError:
            return None
        present = sorted(int(sample.labels["n"]) for sample in samples if "n" in sample.labels)
        if not present:
            return None
        found, exporter = pairs[present[0]]
        return FoundSeries(labels=found if found.ids else None, exporter=exporter)

    def _candidates(self, target: Target) -> Iterator[SeriesLabels]:
        """The labels that the series may have; none if AWS does not answer."""
        aws = self.aws.at(target.place)
        if target.group:
            members = self._members(target.place, target.group)
        else:
            members = aws.instances_named("instance-id", target.id or "").value or ()
        own = [instance for instance in members if instance.id == target.id]
        if not own and target.kind is TargetKind.INSTANCE:
            return
        for label in self.rules.mapping.instances:
            hosts = {host: one.id for one in members for host in _hosts(label, one)}
            mine = [host for host, owner in hosts.items() if owner == target.id]
            if _LABEL_NAME.fullmatch(label.label) and (mine or (hosts and not own)):
                others = [instance for instance in members if instance.id != target.id]
                theirs = [host for host, owner in hosts.items() if owner != target.id]
                yield SeriesLabels(
                    label=label.label,
                    own=_matchers(label.label, mine, self._where(own)) if own else "",
                    siblings=_matchers(label.label, theirs, self._where(others)) if own else "",
                    members=_matchers(label.label, [*hosts], self._where(members)),
                    ids=hosts,
                )

    def _members(self, place: Place, group: str) -> Sequence[Instance]:
        """The group's instances, as AWS had them seconds ago; none if it does not answer."""
        now, key = self.clock(), (place, group)
        read_at, present = self._present.get(key, (-math.inf, ()))
        if not present or not 0 <= now - read_at < _PRESENT_LASTS_S:
            aws = self.aws.at(place)
            present = aws.instances_named("tag:" + GROUP_TAG, group).value or ()
            self._present[key] = now, present
        return present

    def _where(self, instances: Iterable[Instance]) -> Mapping[str, Sequence[str]]:
        """What series of these instances may say of their place: each label may be absent."""
        allowed = {}
        for where in self.rules.mapping.where:
            if where.attributes and _LABEL_NAME.fullmatch(where.label):
                places = ([one.place[name] for name in where.attributes] for one in instances)
                allowed[where.label] = sorted({"", *chain.from_iterable(places)})
        return allowed


def _usual(target: Target) -> SeriesLabels:
    """The labels `instance_id` and `asg`, as far as the target has these."""
    group = f'{_GROUP}="{target.group}"' if target.group else ""
    instance = f'{_USUAL}="{target.id}"' if target.kind is TargetKind.INSTANCE else ""
    own = ",".join(filter(None, (instance, group)))
    return SeriesLabels(label=_USUAL, own=own, siblings="", members=group, ids={})


def _hosts(label: InstanceLabel, instance: Instance) -> Iterator[str]:
    """The hosts that this label's value may have for the instance."""
    for reading in label.readings:
        if reading.startswith("tag:"):
            yield from filter(None, [instance.tags.get(reading[4:], "")])
        else:
            names = {instance.id, *instance.addresses, *instance.names}
            yield from sorted(name for name in names if read_name(name, reading))


def _matchers(label: str, hosts: Sequence[str], where: Mapping[str, Sequence[str]]) -> str:
    host = f'{label}=~"(?:[a-z]+://)?(?:{one_of(hosts)})(?::[0-9]+)?(?:/.*)?"'
    return ",".join(
        [
            host,
            *(f'{name}=~"{one_of(values)}"' for name, values in where.items()),
        ]
    )
