"""Writes series to a Prometheus that takes remote writes.

A request is a `WriteRequest` in Snappy's block format:
https://prometheus.io/docs/specs/remote_write_spec/
"""

import functools
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
import numpy as np

from demo.fleet.workload import Moments

# What Prometheus stores for a series that is no longer scraped.
STALE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# A sample of a TimeSeries. Milliseconds since 1970 are a varint of six bytes until 2109.
_SAMPLE = np.dtype(
    [
        ("field", "u1"),
        ("length", "u1"),
        ("value_field", "u1"),
        ("value", "<f8"),
        ("time_field", "u1"),
        ("time", "u1", 6),
    ]
)


@dataclass(frozen=True)
class Series:
    """A series as `name{label="value"}`, and its samples: epoch seconds and values."""

    name: str
    at: Moments
    values: Moments


def write(client: httpx.Client, url: str, series: Iterable[Series]) -> None:
    """Write the series. Raises httpx.HTTPError where Prometheus does not take them."""
    _post(client, url, b"".join(_field(1, _time_series(one)) for one in series))


def write_moment(
    client: httpx.Client, url: str, samples: Iterable[tuple[str, float]], at: float
) -> None:
    """Write one sample of each series, all of one moment. Raises httpx.HTTPError."""
    time = _varint(int(at * 1000))
    _post(
        client,
        url,
        b"".join(
            _field(1, _head(name) + _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + time))
            for name, value in samples
        ),
    )


def _post(client: httpx.Client, url: str, body: bytes) -> None:
    if not body:
        return
    answer = client.post(
        f"{url}/api/v1/write",
        # One literal: nothing is compressed.
        content=_varint(len(body)) + b"\xfc" + struct.pack("<I", len(body) - 1) + body,
        headers={
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    answer.raise_for_status()


def _time_series(series: Series) -> bytes:
    head = _head(series.name)
    samples = np.empty(series.at.shape, _SAMPLE)
    samples["field"], samples["length"] = 0x12, _SAMPLE.itemsize - 2
    samples["value_field"], samples["value"] = 0x09, series.values
    milliseconds = (series.at * 1000).astype(np.int64)[:, None]
    groups = milliseconds >> np.arange(0, 42, 7) & 0x7F
    # Every byte of a varint but its last has the highest bit.
    groups[:, :-1] |= 0x80
    samples["time_field"], samples["time"] = 0x10, groups
    return head + samples.tobytes()


@functools.cache
def _head(series: str) -> bytes:
    """The labels of a series."""
    name, _, labels = series.partition("{")
    pairs = sorted([("__name__", name), *_LABEL.findall(labels)])
    return b"".join(
        _field(1, _field(1, label.encode()) + _field(2, value.encode())) for label, value in pairs
    )


def _field(number: int, content: bytes) -> bytes:
    """A field with a length: https://protobuf.dev/programming-guides/encoding/."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value >> 7:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
