"""The body of an HTTP answer, bounded in size and in the time for all of it.

A client's own time-out bounds each wait: a server that drips a byte a second would hold a thread
for ever.
"""

import time

import httpx


class TooLargeError(Exception):
    """More came than may come."""


class TooSlowError(Exception):
    """It was not all there in time."""


def read(response: httpx.Response, *, most: int, until: float) -> bytes:
    """The body of a streamed answer, of at most so many bytes, by that moment (monotonic seconds).

    Raises TooLargeError and TooSlowError.
    """
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > most:
            raise TooLargeError(f"its answer exceeds {most} bytes")
        if time.monotonic() > until:
            raise TooSlowError("its answer took too long")
    return bytes(body)
