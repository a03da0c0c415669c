"""Reads the body of an HTTP response, bounded in size and in total time.

The client's own timeout bounds only each wait: a server that sends one byte per second would block
a thread for ever.
"""

import time

import httpx


class TooLargeError(Exception):
    """The body exceeds the limit."""


class TooSlowError(Exception):
    """The body was not complete at the deadline."""


def read_bounded(response: httpx.Response, *, max_bytes: int, deadline: float) -> bytes:
    """The body of a streamed response. `deadline` is in monotonic seconds.

    Raises TooLargeError and TooSlowError.
    """
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise TooLargeError(f"the answer exceeds {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise TooSlowError("the answer took too long")
    return bytes(body)
