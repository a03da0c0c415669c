"""The scores of watched members in Prometheus' text format, with ids as labels."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.watch.member import Member

_HOST = ("instance_id", "asg")


class Scores(Collector):
    """What `/metrics/watch` shows; empty where nothing is watched, and on a replica that waits.

    Each member has at most 17 series: `unusual`, one kind of fault, and three for each of five
    resources.
    """

    def __init__(self) -> None:
        self._members: Sequence[Member] = ()
        self.left_out = 0
        self.failed_queries = 0
        self.cpu_s = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def publish(self, members: Iterable[Member]) -> None:
        self._members = tuple(members)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        members = self._members
        yield self._about_itself("members", "Instances that are watched", len(members))
        yield self._about_itself("left_out", "Instances beyond the most watched", self.left_out)
        for name, help_text, value in (
            ("cpu_seconds", "CPU time of the watch", self.cpu_s),
            ("failed_queries", "Queries of the watch without an answer", self.failed_queries),
        ):
            yield CounterMetricFamily(f"smartcloudops_watch_{name}", help_text, value=value)
        yield from _outlooks(members)
        yield from _forecasts(members)

    @staticmethod
    def _about_itself(name: str, help_text: str, value: int) -> Metric:
        return GaugeMetricFamily(f"smartcloudops_watch_{name}", help_text, value=value)


def _outlooks(members: Sequence[Member]) -> Iterator[Metric]:
    unusual = GaugeMetricFamily(
        "smartcloudops_watch_unusual",
        "Distance from the host's own past, of which 99 % is within 1",
        labels=_HOST,
    )
    probability = GaugeMetricFamily(
        "smartcloudops_watch_fault_probability",
        "Probability of a fault of the likeliest kind",
        labels=(*_HOST, "kind"),
    )
    for member in members:
        outlook = member.outlook
        if outlook.unusual is not None:
            unusual.add_metric((member.id, member.group), outlook.unusual)
        if outlook.probability is not None:
            labels = (member.id, member.group, outlook.kind or "")
            probability.add_metric(labels, outlook.probability)
    yield from (unusual, probability)


def _forecasts(members: Sequence[Member]) -> Iterator[Metric]:
    what = "Seconds until the resource runs out"
    families = [
        GaugeMetricFamily(f"smartcloudops_watch_exhaustion{end}_seconds", text, labels=labels)
        for labels in [(*_HOST, "resource", "mountpoint")]
        for end, text in (
            ("", what),
            ("_earliest", f"{what}: the early end of the 95 % interval"),
            ("_latest", f"{what}: the late end of the 95 % interval"),
        )
    ]
    for member in members:
        for forecast in member.forecasts:
            labels = (member.id, member.group, forecast.resource, forecast.mountpoint)
            found = forecast.exhaustion
            for family, value in zip(
                families, (found.seconds, found.earliest, found.latest), strict=True
            ):
                family.add_metric(labels, value)
    yield from families
