"""How many requests a client may make: a bucket of tokens each, that fills up with time."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

# In bits: whoever has an IPv6 network has all addresses of it.
_NETWORK = 64


class Buckets:
    """`per_s` requests a second in the long run, and `burst` at once.

    The clients that were not seen for longest are forgotten beyond `most`. `clock` gives seconds.
    For one thread.
    """

    def __init__(
        self, *, per_s: float, burst: float, clock: Callable[[], float], most: int = 10_000
    ) -> None:
        self._per_s, self._burst, self._clock, self._most = per_s, burst, clock, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take one request; 0 where there is room for it, otherwise the seconds until there is."""
        now = self._clock()
        left, at = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_s


def client_of(address: str) -> str:
    """Who is behind an address."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address, _NETWORK), strict=False))
    except ValueError:
        return address
