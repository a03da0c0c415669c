"""A token bucket for each client."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

# Bits of an IPv6 network, which counts as one client because one owner has all its addresses.
_NETWORK = 64


class RateLimiter:
    """Allows each client `per_s` requests per second on average, and `burst` at once.

    Beyond `max_clients` it forgets the least recent client. `clock` gives seconds. Not thread-safe.
    """

    def __init__(
        self, *, per_s: float, burst: float, clock: Callable[[], float], max_clients: int = 10_000
    ) -> None:
        self._per_s, self._burst, self._clock, self._max_clients = per_s, burst, clock, max_clients
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request. Returns 0 if it is allowed, else the seconds until the next one is."""
        now = self._clock()
        left, at = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > self._max_clients:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_s


def client_of(address: str) -> str:
    """The client of an address: the address, or its IPv6 network."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address, _NETWORK), strict=False))
    except ValueError:
        return address
