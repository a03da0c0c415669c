"""Whatever strangers send, and whatever was done to a file: an answer, and never a surprise.

`make fuzz` tries for longer.
"""

import copy
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from actions import exports
from actions.chain import GENESIS, canonical, hash_of
from receiver import conditions, playbooks, slack
from receiver.conditions import (
    ConditionError,
    Facts,
    GroupFacts,
    RunFacts,
    TargetFacts,
    VerdictFacts,
)
from receiver.database import Database
from receiver.playbooks import PlaybookErrors
from receiver.signatures import SignatureError, Signatures, sign
from receiver.slack import FormError
from receiver.tokens import Role
from tests.api_fixtures import Live, live

_ROOT = Path(__file__).parents[1]
_TRIED = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_PAYLOADS = [json.loads(path.read_text()) for path in sorted((_ROOT / "tests/payloads").iterdir())]
_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_RECORDS = 8
# The threads of a service that runs beside it use it as they like.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 JSON
    """The path of every value in it."""
    yield at
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in inner:
        yield from _places(one, (*at, key))


def _post(service: Live, body: bytes) -> Any:  # noqa: ANN401 JSON
    """The counts, where it was taken."""
    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, content=body)
    assert answer.status_code in {200, 400, 422}, answer.text
    assert answer.headers["content-type"].startswith("application/")
    return answer.json() if answer.status_code == 200 else None


@_TRIED
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | _ODD.map(json.dumps))
def test_a_body_of_anything(service: Live, body: bytes | str) -> None:
    """JSON or not, it is taken or named as what it is not."""
    _post(service, body if isinstance(body, bytes) else body.encode())


@_TRIED
@given(st.data())
def test_a_delivery_with_odd_values_loses_no_sibling(service: Live, data: st.DataObject) -> None:
    """Alertmanager's own, with something else in some places; every alert is counted once."""
    payload = copy.deepcopy(data.draw(st.sampled_from(_PAYLOADS)))
    whole = {
        "status": "firing",
        "labels": {"alertname": "Whole", "n": str(data.draw(st.integers()))},
    }
    payload["alerts"].append(whole)
    places = [one for one in _places(payload["alerts"][:-1]) if one]
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from(places))
        holder = payload["alerts"]
        try:
            for key in way:
                holder = holder[key]
            holder[last] = data.draw(_ODD)
        except (KeyError, IndexError, TypeError):
            continue
    counts = _post(service, json.dumps(payload).encode())
    # Not a number is no JSON, and a half of a pair no text.
    assume(counts is not None)
    assert sum(counts.values()) == len(payload["alerts"])
    assert counts["accepted"] + counts["duplicates"] >= 1


_LINES = [
    line
    for path in sorted((_ROOT / "playbooks").glob("*.yaml"))
    for line in path.read_text().splitlines()
]
_ODD_LINES = st.sampled_from(
    [
        "- ",
        "&a [*a]",
        "<<: *b",
        "? x",
        "!!python/object:os.system {}",
        "%YAML 1.1",
        "\t",
        "...",
        "---",
    ]
)


@_TRIED
@given(st.lists(st.sampled_from(_LINES) | _ODD_LINES | st.text(max_size=30), max_size=25))
def test_a_file_of_any_lines_is_a_playbook_or_has_findings(
    tmp_path: Path, lines: list[str]
) -> None:
    """Each finding names the file and a line of it."""
    file = tmp_path / "one.yaml"
    file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    findings = []
    try:
        found = playbooks.load(tmp_path).items
    except PlaybookErrors as error:
        found, findings = [], list(error.findings)
    assert bool(found) is not bool(findings)
    assert all(one.line >= 1 and one.message for one in findings)


_FACTS = Facts(
    verdict=VerdictFacts(answer="confirmed", score=1.0, confidence=None),
    group=GroupFacts(**dict.fromkeys(GroupFacts.__dataclass_fields__, None) | {"size": 6.0}),
    target=TargetFacts(id=None, kind=None, az=None, age_s=None),
    labels={"x": "007" * 50},
    facts={"cpu": 0.5},
    run=RunFacts(rung=0),
)
_WORDS = st.sampled_from(
    [
        *(
            "verdict.answer",
            "verdict.score",
            "group.surging",
            "group.size",
            'labels["x"]',
            "target",
        ),
        *("and", "or", "not", "in", "==", "!=", "<", "=~", "**", "+", "*", "/", "%", ".", "?", ":"),
        *(
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "1",
            "1e999",
            "0x7",
            '"a"',
            "'",
            "for",
            "null",
            "true",
            "$x",
        ),
        *(".length", ".to_flt", ".ceiling", ".as_lower", "d'2026-01-01'", "&", "|", "<<", "#"),
    ]
)


@_TRIED
@given(st.lists(_WORDS | st.text(max_size=4), min_size=1, max_size=12))
def test_any_condition_is_refused_or_answers(words: list[str]) -> None:
    """With a type error, or with true, false or unknown."""
    with suppress(ConditionError):
        assert conditions.condition(" ".join(words)).evaluate(_FACTS) in {True, False, None}


@_TRIED
@given(st.tuples(st.binary(max_size=60), st.binary(max_size=60)), st.integers(-400, 400), st.text())
def test_only_what_was_signed_is_taken(
    state: Database, tmp_path: Path, bodies: tuple[bytes, bytes], late: int, forged: str
) -> None:
    """Any other body, moment, secret or text instead of a signature is refused."""
    body, other = bodies
    (tmp_path / "secret").write_text("a secret")
    checks = Signatures(file=tmp_path / "secret", database=state, clock=lambda: 1_000_000.0)
    moment = str(1_000_000 + late)
    right = sign("a secret", moment, body)
    wrong = [(moment, forged, body), (moment, sign("another", moment, body), body)]
    wrong += [(str(1_000_001 + late), right, body), (forged, right, body)]
    wrong += [(moment, right, other)] if other != body else []
    for timestamp, signature, sent in wrong:
        if signature != sign("a secret", timestamp, sent):
            with pytest.raises(SignatureError):
                checks.check(timestamp, signature, sent)


@_TRIED
@given(st.binary(max_size=200) | _ODD.map(lambda one: b"payload=" + json.dumps(one).encode()))
def test_a_form_of_anything_is_slacks_or_is_not(body: bytes) -> None:
    """A command and a button alike."""
    for read in (slack.command, slack.button):
        try:
            said = read(body)
        except FormError:
            continue
        assert said.later is None or said.later.startswith(slack.HOOKS)


def _export(records: int = _RECORDS) -> list[bytes]:
    lines, before = [], GENESIS
    for seq in range(1, records + 1):
        row: dict[str, Any] = {"seq": seq, "at": 1.5 * seq, "actor": "a", "event": "paused"}
        row |= {"run_id": None, "detail": f'{{"n":{seq}}}', "previous": before}
        before = hash_of(row)
        lines.append(canonical(row | {"hash": before}).encode())
    return lines


_WHOLE = _export()
_HEADS = {_RECORDS: json.loads(_WHOLE[-1])["hash"]}


@_TRIED
@given(st.integers(0, _RECORDS - 1), st.data())
def test_a_changed_byte_of_an_export_names_its_record(place: int, data: st.DataObject) -> None:
    """Replaced, taken out, put in or cut off, anywhere in the line."""
    lines, line = list(_WHOLE), _WHOLE[place]
    at = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.binary(max_size=3))
    assume(b"\n" not in byte and b"\r" not in byte)
    lines[place] = line[:at] + byte + line[at + data.draw(st.integers(0, 3)) :]
    assume(lines[place] != line)
    found = exports.verify(lambda: iter(lines), _HEADS)
    assert not found.ok
    assert found.first_bad == place + 1


@_TRIED
@given(st.lists(st.integers(0, _RECORDS - 1), max_size=_RECORDS + 2))
def test_an_export_in_any_other_order_does_not_hold(order: list[int]) -> None:
    """Lines left out, doubled and moved, in whichever way: the first wrong place is named."""
    lines = [_WHOLE[one] for one in order]
    assume(lines != _WHOLE)
    found = exports.verify(lambda: iter(lines), _HEADS)
    assert not found.ok
    assert found.first_bad is not None
    right = 0
    while right < len(lines) and lines[right] == _WHOLE[right]:
        right += 1
    # An export may begin later, where older ones were pruned: then its own first line is missed.
    assert found.first_bad == (right + 1 if right or not order else found.first_bad)
