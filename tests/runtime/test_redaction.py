"""Redaction takes secrets out, leaves sentences alone, and stays linear in what strangers send."""

import pytest

from receiver.http.access.callers import Role
from receiver.runtime.redaction import Redaction


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer [redacted]"),
        ("authorization=hunter22", "authorization=[redacted]"),
        ("sent bearer abc123def twice", "sent bearer [redacted] twice"),
        ("Basic dXNlcjpwdw==", "Basic [redacted]"),
        ("https://user:pw@host/path", "https://[redacted]@host/path"),
        ("key AKIAABCDEFGHIJKLMNOP.", "key [redacted]."),
        ("of eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "of [redacted]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "[redacted]"),
        ("token aaaaaaaaAAAAAAA1111111aaaaaaaaaaaaaaa==", "token [redacted]"),
        ('{"api_key": "abcd1234"}', '{"api_key": "[redacted]"}'),
        ("said correct-horse and left", "said [redacted] and left"),
    ],
)
def test_secrets_are_taken_out(text: str, shown: str) -> None:
    assert Redaction(["correct-horse"])(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a valid bearer token is needed",
        "the basic authentication of the proxy failed",
        "/var/lib/prometheus/node-exporter/Textfile1Collector/disk.prom",
        "run 01JD8Z6Q4E7H2M9K3V5X8B1C0D on i-0123456789abcdef0",
        "größer als 5 %",
    ],
)
def test_our_own_words_are_left(text: str) -> None:
    assert Redaction()(text) == text


@pytest.mark.parametrize(
    "unit", ["a.", "eyJaaaaaaaa", "token ", "bearer ", "x://", "-----BEGIN PRIVATE KEY-----", "aA1"]
)
def test_a_megabyte_of_near_misses_is_read_once(unit: str) -> None:
    """A form that backtracks takes an hour for each of these: the suite's time limit notices."""
    Redaction()(unit * (1_000_000 // len(unit)))


def test_lone_surrogates_are_no_error() -> None:
    assert Redaction()("host \ud800 is down") == "host ? is down"


def test_a_member_of_an_enumeration_is_text() -> None:
    assert Redaction()(Role.ADMIN) == "admin"
