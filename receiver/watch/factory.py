"""Builds the watcher from the settings."""

from collections.abc import Callable, Sequence

from receiver.evidence.factory import EvidenceReaders
from receiver.playbooks.matchers import Matcher, MatcherError, parse_all
from receiver.settings import SettingsError
from receiver.watch.scores import Scores
from receiver.watch.watcher import Watcher


def make_watcher(evidence: EvidenceReaders, clock: Callable[[], float]) -> Watcher:
    """The watcher of the settings, with the prefetch's client: neither counts as a failed read.

    Raises SettingsError.
    """
    return Watcher(
        matchers=parse_watch(evidence.settings.watch),
        interval_s=evidence.settings.watch_interval,
        prometheus=evidence.prefetcher.reader.prometheus,
        exporters=lambda: evidence.rules.exporters,
        model=lambda: evidence.model_server.loaded.active,
        scores=Scores(),
        clock=clock,
    )


def parse_watch(text: str) -> Sequence[Matcher]:
    """Raises SettingsError."""
    try:
        return parse_all(text)
    except MatcherError as error:
        raise SettingsError(f"SMARTCLOUDOPS_WATCH: {error}") from None
