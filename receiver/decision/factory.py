"""The part that decides, put together for the service and for `explain` alike."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from models.features.evidence import Evidence
from models.inference.verdict import Verdict
from receiver.db.database import Database
from receiver.decision.pipeline import Assessment
from receiver.decision.snapshot import Situations
from receiver.evidence.aws_state import AwsFacts, Target
from receiver.evidence.metrics_query import Past, gather
from receiver.evidence.prometheus import Prometheus
from receiver.playbooks.loader import Playbooks
from receiver.settings import Settings


def assessment(  # noqa: PLR0913, PLR0917 one argument a part
    settings: Settings,
    playbooks: Playbooks,
    state: Database,
    facts: AwsFacts,
    prometheus: Prometheus,
    queries: ThreadPoolExecutor,
    judge: Callable[[Evidence, Collection[str]], Verdict],
    resolved: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
    past: Callable[[str], Past | None] = lambda _: None,
) -> Assessment:
    """It only reads. `judge` gives the model's verdict, `resolved` which runs' alerts are over.

    `past` is what was read of a target lately.
    """
    situations = Situations(
        database=state,
        aws=facts,
        mode=settings.mode,
        gap_s=settings.episode_gap_s,
        arming_required=settings.arming_required,
        resolved=resolved,
    )

    def evidence_of(target: Target, at: float, roles: Collection[str]) -> Evidence:
        return gather(
            prometheus,
            target=target.id or "",
            group=target.group,
            at=at,
            roles=roles,
            pool=queries,
            deadline_s=settings.evidence_deadline_s,
            past=past(target.id or ""),
        )

    return Assessment(
        playbooks=playbooks,
        situations=situations,
        prometheus=prometheus,
        pool=queries,
        gather=evidence_of,
        judge=judge,
    )
