from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """How the roles read one exporter's metrics: an expression by the role's name.

    Each host has the series `presence` as long as it is scraped. `boot_time` is when it booted, in
    epoch seconds; empty where the exporter does not tell.
    """

    name: str
    presence: str
    boot_time: str = ""
    exprs: Mapping[str, str]

    def presence_of(self, selector: str) -> str:
        return self.presence.replace("$of", selector)

    def boot_time_of(self, selector: str) -> str:
        return self.boot_time.replace("$of", selector)
