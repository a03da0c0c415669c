"""Finds the target of an alert: by its labels, and in AWS where these do not give an id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from actions.aws.groups import GROUP_NAME
from actions.aws.instances import Instance
from actions.base import TargetKind
from receiver.evidence.aws_reads import AwsReads
from receiver.evidence.target import Target
from receiver.evidence.targets.readings import Name, read_name
from receiver.evidence.targets.rules import TargetRules
from receiver.evidence.targets.series import SeriesFinder


@dataclass(frozen=True, kw_only=True)
class TargetResolver:
    """Reads labels by the `rules`, asks AWS for what they name, and `series` for its metrics."""

    aws: AwsReads
    rules: TargetRules
    series: SeriesFinder | None = None

    def resolve(self, labels: Mapping[str, str], *, ask: bool) -> Target:
        """The target of an alert; with `ask`, with the labels of its series.

        With `ask`, AWS and Prometheus are read if the labels alone do not tell all.
        """
        named_by = next(iter(self.rules.mapping.naming(labels)), "")
        target = replace(self._resolve(labels, ask=ask), named_by=named_by)
        if not ask or self.series is None or target.id is None:
            return target
        prometheus, found = self.series.prometheus.of(labels), self.series.find(target, labels)
        return replace(target, series=found.labels, exporter=found.exporter, prometheus=prometheus)

    def _resolve(self, labels: Mapping[str, str], *, ask: bool) -> Target:
        """The instance that the labels name, else the group itself.

        Only a well-formed id or name counts; an empty one means no target, never every target.
        A name that AWS does not know, or knows in another place than the labels tell, is no target,
        and not the group either.
        """
        group = self._group(labels)
        for instance in self.rules.mapping.instances:
            value = labels.get(instance.label, "")
            names = [read_name(value, reading) for reading in instance.readings if value]
            readable = [name for name in names if name is not None]
            if readable and not readable[0].filter:
                return self._by_id(readable[0].value, group, ask=ask)
            if readable:
                return self._by_names(readable, labels, group) if ask else Target()
        if group is not None and not labels.get("instance_id"):
            return Target(id=group, kind=TargetKind.GROUP, group=group)
        return Target()

    def _group(self, labels: Mapping[str, str]) -> str | None:
        named = (labels.get(label, "") for label in self.rules.mapping.groups)
        name = next(filter(None, named), "")
        return name if GROUP_NAME.fullmatch(name) else None

    def _by_id(self, instance_id: str, group: str | None, *, ask: bool) -> Target:
        """An id is of one place only, and AWS must confirm it later."""
        if group is None and ask:
            instance = self.aws.instance(instance_id).value
            group = instance.group if instance else None
        return Target(id=instance_id, kind=TargetKind.INSTANCE, group=group)

    def _by_names(self, names: list[Name], labels: Mapping[str, str], group: str | None) -> Target:
        doubt = ""
        for name in names:
            answer = self.aws.instances_named(name.filter, name.value)
            if answer.error:
                return Target(unread=answer.error)
            found = answer.value or ()
            here = [instance for instance in found if not self._elsewhere(labels, instance)]
            if len(here) == 1:
                return Target(id=here[0].id, kind=TargetKind.INSTANCE, group=group or here[0].group)
            doubt = doubt or self._doubt(name, labels, found, here)
        return Target(doubt=doubt)

    def _elsewhere(self, labels: Mapping[str, str], instance: Instance) -> str | None:
        return self.rules.mapping.contradiction(labels, instance.place)

    def _doubt(
        self,
        name: Name,
        labels: Mapping[str, str],
        found: Sequence[Instance],
        here: Sequence[Instance],
    ) -> str:
        what = f"{name.filter} {name.value}"
        if len(here) > 1:
            return f"{len(here)} instances have the {what}"
        if found:
            untrue = self._elsewhere(labels, found[0])
            return f"the {what} is of {found[0].id}, which is elsewhere than {untrue}"
        return f"AWS knows no live instance with the {what}"
