"""The PromQL of the watch: who is watched, and what many members have in one query."""

from collections.abc import Iterable

from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.promql import (
    LATEST,
    MEANS,
    Sampling,
    of_instance,
    query,
    while_scraped,
)
from receiver.playbooks.matchers import Matcher

_FILESYSTEM = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|autofs|nsfs"'
# The used share of what a host runs out of, from node_exporter.
_RESOURCES = {
    "disk": (
        "instance_id,mountpoint",
        "1 - node_filesystem_avail_bytes{$fs,$of} / node_filesystem_size_bytes{$fs,$of}".replace(
            "$fs", _FILESYSTEM
        ),
    ),
    "memory": (
        "instance_id",
        "1 - node_memory_MemAvailable_bytes{$of} / node_memory_MemTotal_bytes{$of}",
    ),
    "swap": (
        "instance_id",
        "1 - node_memory_SwapFree_bytes{$of} / (node_memory_SwapTotal_bytes{$of} > 0)",
    ),
    "file_descriptors": (
        "instance_id",
        "node_filefd_allocated{$of} / node_filefd_maximum{$of}",
    ),
    "conntrack": (
        "instance_id",
        "node_nf_conntrack_entries{$of} / node_nf_conntrack_entries_limit{$of}",
    ),
}


def members(matchers: Iterable[Matcher], exporter: Exporter) -> str:
    """The instances that are scraped now, with their groups."""
    selector = ",".join((*map(str, matchers), 'instance_id!=""', 'asg!=""'))
    return f"group by (instance_id, asg) ({exporter.presence_of(selector)})"


def present(ids: Iterable[str], exporter: Exporter) -> str:
    """All roles now. Raises ValueError for a malformed id."""
    selector = _any_of(ids)
    latest = query(selector, LATEST, exporter=exporter)
    return while_scraped(latest, selector, exporter=exporter)


def means(ids: Iterable[str], exporter: Exporter, sampling: Sampling = MEANS) -> str:
    """All roles as in the history of a decision. Raises ValueError for a malformed id."""
    return query(_any_of(ids), sampling, exporter=exporter)


def resources(ids: Iterable[str]) -> str:
    """The used share of each resource. Raises ValueError for a malformed id."""
    selector = _any_of(ids)
    return " or ".join(
        f"label_replace(max by ({by}) ({expr.replace('$of', selector)}), "
        f'"resource", "{name}", "", "")'
        for name, (by, expr) in _RESOURCES.items()
    )


def is_instance(text: str) -> bool:
    """Whether a label has the form of an id: another one would spoil the query for all."""
    try:
        return bool(of_instance(text))
    except ValueError:
        return False


def _any_of(ids: Iterable[str]) -> str:
    known = [instance_id for instance_id in ids if of_instance(instance_id)]
    return f'instance_id=~"{"|".join(known)}"'
