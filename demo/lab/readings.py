"""What an exporter says, as numbers by series."""

from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

Reading = Mapping[str, float]
_GAUGES = frozenset({"node_netstat_Tcp_CurrEstab", "service_latency_seconds", "service_up"})


def parse(text: str) -> Reading:
    """The value of each series, by `name{label="value",…}`."""
    return {identity: value for identity, value, _ in _samples(text)}


def find_counters(text: str) -> set[str]:
    """The series that are counters; node_exporter leaves those of the kernel without a type."""
    return {identity for identity, _, counts in _samples(text) if counts}


def _samples(text: str) -> Iterator[tuple[str, float, bool]]:
    for family in text_string_to_metric_families(text):
        untyped = family.type in {"unknown", "untyped"} and family.name not in _GAUGES
        counts = family.type == "counter" or untyped
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            identity = f"{sample.name}{{{labels}}}" if labels else sample.name
            yield identity, sample.value, counts
