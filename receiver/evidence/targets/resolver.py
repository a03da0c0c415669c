"""Finds the target of an alert: by its labels, and in AWS where these do not give an id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actions.aws.groups import GROUP_NAME
from actions.aws.instances import Instance
from actions.base import TargetKind
from actions.place import HOME, Place
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.aws.reads import AwsAnswer
from receiver.evidence.target import Target
from receiver.evidence.targets.readings import Name, read_name
from receiver.evidence.targets.rules import TargetRules
from receiver.evidence.targets.series import SeriesFinder

_ADD_LABELS = "the alert needs labels that tell its account and region"
# An alert whose labels fit more places than this is asked about in none of them.
_PLACES_MAX = 8


@dataclass(frozen=True, kw_only=True)
class TargetResolver:
    """Reads labels by the `rules`, asks AWS for what they name, and `series` for its metrics."""

    aws: AwsReaders
    rules: TargetRules
    series: SeriesFinder | None = None

    def resolve(
        self,
        labels: Mapping[str, str],
        *,
        ask: bool,
        begun: Place | None = None,
        within: Place = HOME,
    ) -> Target:
        """The target of an alert; with `ask`, with the labels of its series.

        With `ask`, AWS and Prometheus are read if the labels alone do not tell all. A run that has
        `begun` in a place stays there; a person may name an account or a region, `within` which it
        is.
        """
        named_by = next(iter(self.rules.mapping.naming(labels)), "")
        target = self._place(labels, ask=ask, begun=begun, within=within)
        target = replace(target, named_by=named_by)
        if not ask or self.series is None or target.id is None:
            return target
        prometheus, found = self.series.prometheus.of(labels), self.series.find(target, labels)
        return replace(target, series=found.labels, exporter=found.exporter, prometheus=prometheus)

    def _place(
        self, labels: Mapping[str, str], *, ask: bool, begun: Place | None, within: Place
    ) -> Target:
        """The target in the one account and region that fits; none where two do."""
        places, mapping = self.aws.places, self.rules.mapping
        if len(places) == 1 and begun in {None, places[0]} and not places[0].account:
            return self._at(places[0], labels, ask=ask)
        fitting = [
            place
            for place in places
            if mapping.may_be_at(labels, place) and place.is_within(within)
        ]
        if begun is not None:
            fitting = [place for place in fitting if place == begun]
            if not fitting:
                return Target(unread=f"{begun}: it is not in the file of accounts any more")
        if not fitting:
            return Target(doubt="no account and region of the file of accounts fits the labels")
        if len(fitting) > 1 and ask:
            return self._among(fitting, labels)
        target = self._at(fitting[0], labels, ask=ask)
        return target if len(fitting) == 1 else replace(target, place=HOME, placed=False)

    def _among(self, places: Sequence[Place], labels: Mapping[str, str]) -> Target:
        """The only place that has what the labels name; each must answer."""
        if len(places) > _PLACES_MAX:
            return Target(doubt=f"{len(places)} accounts and regions fit: {_ADD_LABELS}")
        found = []
        for place in places:
            target = self._at(place, labels, ask=True)
            read: AwsAnswer[Any] = AwsAnswer(error=target.unread)
            if target.kind is TargetKind.INSTANCE:
                read = self.aws.at(place).instance(target.id or "")
            elif target.kind is TargetKind.GROUP:
                read = self.aws.at(place).group(target.id or "")
            if read.error:
                return Target(unread=f"{read.error} ({place})")
            if read.value is not None:
                found.append(target)
        if len(found) == 1:
            return found[0]
        if found:
            named = " and ".join(str(target.place) for target in found)
            return Target(doubt=f"{found[0].id} is in {named}: {_ADD_LABELS}")
        named = ", ".join(map(str, places))
        return Target(doubt=f"none of {named} has what the labels name")

    def _at(self, place: Place, labels: Mapping[str, str], *, ask: bool) -> Target:
        """The instance of the place that the labels name, else the group itself.

        Only a well-formed id or name counts; an empty one means no target, never every target.
        A name that AWS does not know, or knows in another place than the labels tell, is no target,
        and not the group either.
        """
        target = self._named(place, labels, ask=ask)
        where = self.rules.mapping.series_at(place) if place.account else ""
        return replace(target, place=place, where=where)

    def _named(self, place: Place, labels: Mapping[str, str], *, ask: bool) -> Target:
        group = self._group(labels)
        for instance in self.rules.mapping.instances:
            value = labels[instance.label] if instance.names_in(labels) else ""
            names = [read_name(value, reading) for reading in instance.readings if value]
            readable = [name for name in names if name is not None]
            if readable and not readable[0].filter:
                return self._by_id(place, readable[0].value, group, ask=ask)
            if readable:
                return self._by_names(place, readable, labels, group) if ask else Target()
        if group is not None and not labels.get("instance_id"):
            return Target(id=group, kind=TargetKind.GROUP, group=group)
        return Target()

    def _group(self, labels: Mapping[str, str]) -> str | None:
        named = (labels.get(label, "") for label in self.rules.mapping.groups)
        name = next(filter(None, named), "")
        return name if GROUP_NAME.fullmatch(name) else None

    def _by_id(self, place: Place, instance_id: str, group: str | None, *, ask: bool) -> Target:
        """An id is of one place only, and AWS must confirm it later."""
        if group is None and ask:
            instance = self.aws.at(place).instance(instance_id).value
            group = instance.group if instance else None
        return Target(id=instance_id, kind=TargetKind.INSTANCE, group=group)

    def _by_names(
        self, place: Place, names: list[Name], labels: Mapping[str, str], group: str | None
    ) -> Target:
        doubt = ""
        for name in names:
            answer = self.aws.at(place).instances_named(name.filter, name.value)
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
