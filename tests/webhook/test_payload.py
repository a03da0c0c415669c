"""The webhook's body, taken apart."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.webhook import payload
from receiver.webhook.payload import NotJsonError, WrongShapeError

PAYLOADS = Path(__file__).parent / "payloads"
_ALERT = {
    "status": "firing",
    "labels": {"alertname": "HighCPU", "instance_id": "i-0123456789abcdef0"},
    "annotations": {},
    "startsAt": "2026-11-23T06:39:31.435Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "d76ace51dbbb114a",
}


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_a_missing_fingerprint_is_derived_as_alertmanager_derives_it(path: Path) -> None:
    """Real deliveries, their fingerprints taken away, come to the same fingerprints."""
    for raw in json.loads(path.read_text())["alerts"]:
        bare = {key: value for key, value in raw.items() if key != "fingerprint"}
        alert = payload.parse_alert(bare, received_at=0)
        assert alert is not None
        assert alert.fingerprint == raw["fingerprint"]


def test_the_zero_time_means_not_yet() -> None:
    """A firing alert's endsAt of year 1 is no time at all."""
    alert = payload.parse_alert(_ALERT, received_at=1.8e9)
    assert alert is not None
    assert alert.ends_at is None
    assert alert.starts_at == pytest.approx(1795415971.435)


def _parsed(**changes: object) -> payload.Alert:
    alert = payload.parse_alert(_ALERT | changes, received_at=1.8e9)
    assert alert is not None
    return alert


def test_the_labels_alone_tell_which_alert_it_is() -> None:
    """Not what was sent as its fingerprint; a label without a value is none."""
    alert, labels = _parsed(), {"alertname": "HighCPU", "instance_id": "i-0123456789abcdef0"}
    forged = _parsed(fingerprint="0" * 16, startsAt="2100-01-01T00:00:00Z")
    assert forged.key == alert.key
    assert forged.fingerprint == "0" * 16
    assert _parsed(labels=labels | {"asg": ""}).key == alert.key
    assert _parsed(labels=labels | {"asg": ""}).labels == labels
    assert _parsed(labels=labels | {"asg": "web-asg"}).key != alert.key


@pytest.mark.parametrize(
    ("malformed", "imitated"),
    [
        ({"alertname": "X", "n": 7}, {"alertname": "X", "n": "7"}),
        ({"alertname": "X", "n": "x" * 9000}, {"alertname": "X", "n": "x" * 8192}),
        ({"alertname": "X", "n": "\x00m\x00"}, {"alertname": "X", "m": "", "n": "\x00"}),
    ],
)
def test_a_malformed_alert_is_never_taken_for_the_one_that_it_imitates(
    malformed: dict[str, object], imitated: dict[str, object]
) -> None:
    """It is refused for good: as a copy of the other one it would hide it."""
    assert _parsed(labels=malformed).key != _parsed(labels=imitated).key


@pytest.mark.parametrize(
    "starts_at",
    ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "", None],
)
def test_a_start_that_cannot_be_is_none(starts_at: str | None) -> None:
    """Zero in Go, zero in Unix, ahead of our clock, and absent; such an alert is well-formed."""
    alert = _parsed(startsAt=starts_at)
    assert (alert.starts_at, alert.malformed) == (None, None)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", NotJsonError),
        (b"{", NotJsonError),
        (b"\xff\xfe", NotJsonError),
        (b"null", WrongShapeError),
        (b"[]", WrongShapeError),
        (b'{"text": "custom"}', WrongShapeError),
        (b'{"version": "3", "alerts": []}', WrongShapeError),
        (b'{"version": 4, "alerts": []}', WrongShapeError),
        (b'{"version": "4"}', WrongShapeError),
        (b'{"version": "4", "alerts": {}}', WrongShapeError),
    ],
)
def test_a_body_that_is_no_delivery_is_named_as_such(body: bytes, error: type[Exception]) -> None:
    """One line, and nothing of the body in it."""
    with pytest.raises(error) as caught:
        payload.parse_envelope(body)
    assert "\n" not in str(caught.value)
    assert "custom" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "malformed"),
    [
        ({"status": "burning"}, "status"),
        ({"labels": {"alertname": "X", "n": 7}}, "not a string"),
        ({"labels": {"severity": "critical"}}, "alertname"),
        ({"labels": {"alertname": "X", "big": "x" * 9000}}, "longer"),
        ({"labels": {"alertname": "X"} | {f"l{n}": "" for n in range(200)}}, "more than"),
        ({"startsAt": "yesterday"}, "startsAt"),
        ({"startsAt": 12}, "startsAt"),
        ({"startsAt": "9999-12-31T23:59:59-12:00"}, "startsAt"),
    ],
)
def test_a_malformed_alert_is_kept_and_marked(change: dict[str, object], malformed: str) -> None:
    """Malformed alerts are stored with the reason why no playbook may take them."""
    alert = payload.parse_alert(_ALERT | change, received_at=5)
    assert alert is not None
    assert malformed in (alert.malformed or "")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"description": "x" * 10_000}, {"description": "x" * 8192}),
        ({"value": 97.5, "tags": ["a"]}, {"value": "97.5", "tags": '["a"]'}),
        ({f"k{n}": "v" for n in range(200)}, {f"k{n}": "v" for n in range(128)}),
        ("text", {}),
        ([], {}),
        (None, {}),
    ],
)
def test_odd_annotations_leave_the_alert_usable(sent: object, kept: dict[str, str]) -> None:
    """Annotations are for people: they are cut or dropped, and the alert is decided on."""
    alert = _parsed(annotations=sent)
    assert alert.malformed is None
    assert alert.annotations == kept


@pytest.mark.parametrize(
    "change",
    [
        {"endsAt": ""},
        {"endsAt": None},
        {"endsAt": "9999-12-31T23:59:59-12:00"},
        {"fingerprint": ["a"]},
        {"fingerprint": "f" * 9000},
        {"fingerprint": None},
    ],
)
def test_an_odd_end_or_fingerprint_leaves_the_alert_usable(change: dict[str, object]) -> None:
    """A firing alert has no end, and labels tell which alert it is."""
    alert = _parsed(**change)
    assert alert.malformed is None
    assert alert.ends_at is None
    assert len(alert.fingerprint) == 16


_TWO = json.dumps({"version": "4", "alerts": [{"labels": {"a": "QQ"}}, {"labels": {"a": "b"}}]})


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"half a \ud83d pair", "half a \ufffd pair"),
        (rb"half a \ude00\ud83d pair", "half a \ufffd\ufffd pair"),
        (rb"a \ud83d\ude00 pair \ud83d", "a \U0001f600 pair \ufffd"),
        (rb"\\ud83d is no escape \udc00", "\\ud83d is no escape \ufffd"),
        (b"two\nlines,\ta tab\x00", "two lines, a tab "),
        (b"no \xff\xfe text", "no \ufffd\ufffd text"),
        ("über \xff".encode("latin-1"), "\ufffdber \ufffd"),
        ("\ud83d".encode("utf-8", "surrogatepass"), "\ufffd\ufffd\ufffd"),
    ],
)
def test_a_character_that_is_none_costs_itself_alone(sent: bytes, read: str) -> None:
    """The delivery's other alerts arrive: a 400 is never sent again."""
    first, second = payload.parse_envelope(_TWO.encode().replace(b"QQ", sent)).alerts
    assert first == {"labels": {"a": read}}
    assert second == {"labels": {"a": "b"}}


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """Some clients on Windows send it."""
    assert payload.parse_envelope(b"\xef\xbb\xbf" + _TWO.encode()).alerts


@pytest.mark.parametrize("raw", [None, 7, "text", [], {}, {"labels": None}, {"labels": ["a"]}])
def test_what_has_no_labels_is_no_alert(raw: object) -> None:
    """Without labels there is nothing to know it by."""
    assert payload.parse_alert(raw, received_at=0) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries({"labels": _JSON}, optional={k: _JSON for k in _ALERT if k != "labels"})
)
def test_no_alert_breaks_the_parser(raw: dict[str, object]) -> None:
    """Whatever JSON comes: an alert with a usable key, or None."""
    alert = payload.parse_alert(raw, received_at=1)
    if alert is not None:
        assert len(alert.key) == 32
        assert set(alert.key) <= set("0123456789abcdef")
        assert all(isinstance(v, str) for v in (*alert.labels.values(), alert.fingerprint))
