"""Whatever comes in from outside: refused by name or taken, and never a crash.

`make fuzz` tries a hundred times as many.
"""

import asyncio
import copy
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from receiver.chat import slack
from receiver.chat.slack import FormError
from receiver.db.database import database
from receiver.edges import Edges
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.http.access.signatures import SignatureError, Signatures, sign
from receiver.playbooks.conditions import (
    ConditionError,
    Facts,
    GroupFacts,
    RunFacts,
    TargetFacts,
    VerdictFacts,
    condition,
)
from receiver.playbooks.loader import InvalidPlaybooksError, load
from receiver.settings import Settings
from receiver.system import build
from receiver.webhook.senders import ALERTMANAGER_PATH as PATH
from tests.conftest import Clock

_ROOT = Path(__file__).parents[2]
_PAYLOADS = [
    json.loads(path.read_text())
    for path in sorted((_ROOT / "tests/webhook/payloads").glob("*.json"))
]
_PLAYBOOKS = [path.read_text() for path in sorted((_ROOT / "playbooks").glob("*.yaml"))]
_ANSWERS = {200, 400, 413, 422}
_NUMBERS = itertools.count()
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
_ODD = _ANY | st.sampled_from(
    [
        *("\ud800", "\x00", "a" * 9000, "$(id)", "${labels}", "=cmd()", 10**400, -(2**63), 1e308),
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", [[[[[]]]]], {"": {"": None}}),
    ]
)
_quick = settings(deadline=None)


def _paths(value: object, inside: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """To all that is in it, however deep."""
    pairs: Any = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else pairs:
        yield (*inside, key)
        yield from _paths(item, (*inside, key))


@st.composite
def _mutated(draw: st.DrawFn, values: list[Any]) -> Any:
    """One of these, with some of what is in it lost, or replaced by something odd."""
    value = copy.deepcopy(draw(st.sampled_from(values)))
    for _ in range(draw(st.integers(1, 4))):
        *inside, last = draw(st.sampled_from(list(_paths(value))))
        place = value
        for part in inside:
            place = place[part]
        if draw(st.booleans()):
            place[last] = copy.deepcopy(draw(_ODD))
        else:
            del place[last]
    return value


Deliver = Callable[[bytes], httpx.Response]


@pytest.fixture(scope="module")
def deliver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deliver]:
    """To the application that answers the webhook, which stores on a real disk."""
    folder = tmp_path_factory.mktemp("webhook")
    secret = tokens.create(folder / "tokens.json", Role.WEBHOOK, "alertmanager")
    accepted = tokens.load(folder / "tokens.json")
    configured = Settings(
        database_url=f"sqlite:///{folder}/state.db",
        prometheus_url="http://127.0.0.1:1",
        alertmanager_url="http://127.0.0.1:1",
        playbooks=_ROOT / "playbooks",
        tokens_file=folder / "tokens.json",
    )
    system = build(
        configured, load(configured.playbooks), Edges(aws=clients(Emulator(Core(lambda: 0.0))))
    )
    system.prepare()
    system.inbox.start()
    application = system.intake.deliveries(accepted)[PATH]

    async def delivered(body: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            headers = {"Authorization": f"Bearer {secret}"}
            return await http.post(PATH, content=body, headers=headers)

    with asyncio.Runner() as runner:
        yield lambda body: runner.run(delivered(body))
    system.intake.truncated.close()
    system.inbox.stop()


@_quick
@given(st.binary(max_size=200) | _ANY.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_webhook(deliver: Deliver, body: bytes) -> None:
    """Bytes of any kind, and JSON of any kind."""
    assert deliver(body).status_code in _ANSWERS


@_quick
@given(_mutated(_PAYLOADS), st.integers(0, 3))
def test_odd_alerts_cost_no_sibling(deliver: Deliver, body: dict[str, Any], at: int) -> None:
    """Each alert is counted once; one that is as it should be is stored whatever is beside it."""
    sibling = copy.deepcopy(_PAYLOADS[0]["alerts"][0])
    del sibling["fingerprint"]
    sibling["labels"]["n"] = f"{next(_NUMBERS)}"
    if isinstance(body.get("alerts"), list):
        body["alerts"].insert(at, sibling)
    answer = deliver(json.dumps(body).encode())
    assert answer.status_code in _ANSWERS, answer.text
    if answer.is_success:
        assert sum(answer.json().values()) == len(body["alerts"])
        again = deliver(json.dumps({"version": "4", "alerts": [sibling]}).encode())
        assert again.json()["duplicates"] == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("playbooks")


def _found(folder: Path, text: bytes) -> None:
    """It loads, or what is wrong with it is told with its line."""
    (folder / "one.yaml").write_bytes(text)
    try:
        load(folder)
    except InvalidPlaybooksError as errors:
        findings = errors.findings
    else:
        return
    assert findings
    assert all(
        1 <= finding.line <= len(text.splitlines()) + 1 and finding.message for finding in findings
    )


@_quick
@given(_mutated([YAML(typ="safe").load(text) for text in _PLAYBOOKS]))
def test_a_playbook_with_odd_values_is_found_out(folder: Path, playbook: dict[str, Any]) -> None:
    """Written as JSON, which is YAML too."""
    _found(folder, json.dumps(playbook, indent=1).encode())


@_quick
@given(
    st.sampled_from(_PLAYBOOKS),
    st.integers(0, 2000),
    st.integers(0, 30),
    st.text(max_size=9)
    | st.sampled_from(
        ["\t", "&a ", "*a", "!!int ", "? ", "<<: ", "%YAML 9\n", "---\n", "{[", "|+9\n"]
    )
    | st.sampled_from(
        ["0x", "1_0", "1:2:3", "2026-99-99", ".nan", "- - - ", "\u2028", "'", '"\\x']
    ),
)
def test_a_playbook_with_odd_text_is_found_out(
    folder: Path, text: str, at: int, lost: int, put: str
) -> None:
    """Some of it lost, and something else in its place."""
    changed = text[:at] + put + text[at + lost :]
    _found(folder, changed.encode("utf-8", "surrogatepass"))


@_quick
@given(st.binary(max_size=100))
def test_bytes_are_no_playbook(folder: Path, text: bytes) -> None:
    _found(folder, text)


_ATOMS = [
    *("verdict.answer", "verdict.score", "verdict.nothing", "group.surging", "group.size"),
    *("target.age_s", 'labels["team"]', 'labels["none"]', 'facts["cpu"]', "facts", "labels"),
    *("run.rung", '"confirmed"', "'x'", "0", "1.5", "999999999999999", "true", "false", "null"),
    *("[1, 2]", '{"a": 1}', "$now", 'd"2026-01-01"', "1e9", "0xff", '"' + "a" * 99 + '"'),
]
_BETWEEN = ["and", "or", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in", "//"]
_SIGNS = [
    *("not", ".", ",", "?", ":", "(", ")", "[", "]", "**", "=~", "<<", "&", "for", "if", ";"),
    *("\\", "'", '"', "ceiling", "__class__"),
]
_NAMES = ["length", "as_lower", "to_flt", "to_str", "ends_with", "sum", "keys", "is_nan"]
_WORDS = st.lists(
    st.sampled_from(_ATOMS + _BETWEEN + _SIGNS + _NAMES) | st.text(max_size=3), max_size=12
)
_SENTENCES = st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: (
        st.tuples(inner, st.sampled_from(_BETWEEN), inner).map(" ".join)
        | st.tuples(inner, st.sampled_from(_NAMES)).map(lambda two: f"({two[0]}).{two[1]}")
        | inner.map("not ({})".format)
        | st.tuples(inner, inner, inner).map(lambda all_: "({}) ? ({}) : ({})".format(*all_))
    ),
    max_leaves=20,
)
_LABELS = st.text(max_size=9) | st.sampled_from(["007", "1e999999", "nan", "9" * 400, "(a+)+$"])


@settings(deadline=5000)
@given(_WORDS.map(" ".join) | _WORDS.map("".join) | _SENTENCES, _LABELS, st.floats())
def test_a_condition_is_refused_or_true_or_false_or_unknown(
    text: str, label: str, number: float
) -> None:
    """And never takes seconds, whatever a label or a metric holds."""
    try:
        parsed = condition(text)
    except ConditionError:
        return
    facts = Facts(
        verdict=VerdictFacts(answer="confirmed", score=number, confidence=None),
        group=GroupFacts(**dict.fromkeys(GroupFacts.__dataclass_fields__) | {"size": number}),
        target=TargetFacts(id=None, kind="instance", az=None, age_s=number),
        labels={"team": label},
        facts={"cpu": number},
        run=RunFacts(rung=0),
    )
    assert parsed.evaluate(facts) in (True, False, None)


@pytest.fixture(scope="module")
def signatures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signatures]:
    folder = tmp_path_factory.mktemp("signatures")
    (folder / "secret").write_text("8f742231b10e8888")
    store = database(f"sqlite:///{folder}/state.db")
    store.migrate("state")
    yield Signatures(file=folder / "secret", database=store, clock=Clock())
    store.engine.dispose()


@_quick
@given(
    st.binary(max_size=60),
    st.integers(-299, 299),
    st.tuples(st.sampled_from(["timestamp", "signature", "body"]), st.text(max_size=70)),
    st.integers(0, 80),
)
def test_a_changed_request_is_not_believed(
    signatures: Signatures, body: bytes, off: int, changed: tuple[str, str], at: int
) -> None:
    """As it was signed it is taken, once; with a part replaced or cut off it never is."""
    clock = signatures.clock
    assert isinstance(clock, Clock)
    # So that this request is not one that came in an earlier try.
    clock.now += 1000
    timestamp = f"{int(clock.now) + off}"
    request: dict[str, Any] = {"timestamp": timestamp, "body": body}
    request["signature"] = sign("8f742231b10e8888", **request)
    what, put = changed
    whole = request[what]
    other = put.encode("utf-8", "surrogatepass") if what == "body" else put
    for forged in (other, whole[:at] + other, whole[:at] + other + whole[at:], whole[:at]):
        if forged != whole:
            with pytest.raises(SignatureError):
                signatures.check(**request | {what: forged})
    signatures.check(**request)
    with pytest.raises(SignatureError, match="received before"):
        signatures.check(**request)


_PRESSED = {
    "type": "block_actions",
    "team": {"id": "T1"},
    "user": {"id": "U1"},
    "response_url": "https://hooks.slack.com/1",
    "actions": [{"action_id": "approve", "value": "01R:digest"}],
}


@_quick
@given(
    st.binary(max_size=100) | _mutated([_PRESSED]).map(lambda payload: _form(json.dumps(payload)))
)
def test_a_form_is_slacks_or_no_form(body: bytes) -> None:
    """What cannot be read is refused by name."""
    for read in (slack.parse_command, slack.parse_button):
        try:
            parsed = read(body)
        except FormError:
            continue
        assert parsed.user.startswith("slack:")
        assert parsed.response_url is None or parsed.response_url.startswith(slack.RESPONSE_URLS)


def _form(payload: str) -> bytes:
    return urlencode({"payload": payload, "team_id": "T1", "user_id": "U1"}).encode()
