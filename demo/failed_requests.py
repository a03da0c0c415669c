"""What callers of real machines saw fail, from the counts of the load generator outside of them."""

import httpx

from demo.incidents import Incident, Observed


def count(http: httpx.Client, aws: str, incident: Incident, observed: Observed) -> None:
    """Record what failed before the act, and from the act to the recovery: its price."""
    acted, recovered = observed.acted_s, observed.recovered_s
    if acted is None or recovered is None:
        return

    def failed(since: float, until: float) -> int:
        span = {"since": str(int(since)), "until": str(int(until))}
        answer = http.get(f"{aws}/_sim/requests", params=span)
        return int(answer.raise_for_status().json()[incident.group]["failed"])

    at = observed.fault_at
    observed.requests_failed_fault = failed(at, at + acted)
    observed.requests_failed_act = failed(at + acted, at + recovered + 1)
