"""JWTs of the identity provider: which let nobody in, and how long its keys count."""

import time
from collections.abc import Callable

import httpx
import pytest
from joserfc.jwk import OctKey

from receiver.http.access.auth import JwtRefusedError, ProviderUnavailableError
from receiver.sso import jwts
from receiver.sso.provider import FRESH_S, KEPT_S, RETRY_S, Provider
from tests.conftest import Clock
from tests.sso.issuer import CLIENT, ISSUER, Issuer, key, unsigned

_CLAIMS = {"sub": "sub-alice", "iss": ISSUER, "aud": CLIENT}


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def provider(issuer: Issuer, clock: Clock) -> Provider:
    return Provider(issuer=ISSUER, client=issuer.client(), monotonic=clock)


def _in(seconds: float) -> float:
    return time.time() + seconds


def _check(provider: Provider, text: str, nonce: str | None = None) -> str:
    claims = jwts.check(text, provider, audience=CLIENT, now=time.time(), nonce=nonce)
    return str(claims["sub"])


def _confused(issuer: Issuer) -> str:
    """Signed with the public key as if it were a shared secret."""
    public = OctKey.import_key(str(issuer.keys[0].as_dict(private=False)["x"]))
    return issuer.sign(_CLAIMS, by=public, header={"alg": "HS256"})


_REFUSED: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "expired": (lambda i: i.token("a", [], iat=_in(-600), exp=_in(-60)), "expired"),
    "not yet valid": (lambda i: i.token("a", [], nbf=_in(600)), "not valid yet"),
    "of the future": (lambda i: i.token("a", [], iat=_in(600)), "issued in the future"),
    "of last week": (
        lambda i: i.token("a", [], iat=_in(-7 * 86_400), exp=_in(600)),
        "more than a day ago",
    ),
    "for ever": (lambda i: i.token("a", [], exp=None), "claim is missing"),
    "for another": (lambda i: i.token("a", [], aud="another"), "for another audience"),
    "for nobody": (lambda i: i.token("a", [], aud=None), "for another audience"),
    "for others": (lambda i: i.token("a", [], aud=["x", "y"]), "for another audience"),
    "of another issuer": (lambda i: i.token("a", [], iss="https://evil.example"), "another issuer"),
    "of no issuer": (lambda i: i.token("a", [], iss=None), "another issuer"),
    "of nobody": (lambda i: i.token("a", [], sub=None), "claim is missing"),
    "unsigned": (
        lambda _: unsigned(_CLAIMS | {"iat": _in(0), "exp": _in(300)}),
        "algorithm is not allowed",
    ),
    "by a public key as secret": (_confused, "algorithm is not allowed"),
    "forged": (lambda i: i.sign(_CLAIMS, by=key("first")), "signature is wrong"),
    "by an unknown key": (lambda i: i.sign(_CLAIMS, header={"kid": "evil"}), "key is not"),
    "of a logout": (lambda i: i.token("a", [], events={"logout": {}}), "another type"),
    "of another type": (lambda i: i.sign(_CLAIMS, header={"typ": "logout+jwt"}), "another type"),
    "cut off": (lambda i: i.token("a", [])[:-9], "signature is wrong"),
    "no JWT": (lambda _: "a.b.c", "malformed"),
    "no text": (lambda _: "ä.ö.ü", "malformed"),
    "huge": (lambda i: i.token("a", [], junk="x" * 20_000), "too long"),
}


@pytest.mark.parametrize(("make", "reason"), _REFUSED.values(), ids=_REFUSED)
def test_such_a_jwt_lets_nobody_in(
    issuer: Issuer, provider: Provider, make: Callable[[Issuer], str], reason: str
) -> None:
    """The reason has no part of it."""
    text = make(issuer)
    with pytest.raises(JwtRefusedError, match=reason) as refused:
        _check(provider, text)
    assert not set(text.split(".")) & set(str(refused.value).split())


def test_a_valid_one_does(issuer: Issuer, provider: Provider) -> None:
    """For us alone, among others, and within the clocks' difference."""
    for claims in ({}, {"aud": [CLIENT, "x"]}, {"exp": _in(-10)}, {"iat": _in(10)}):
        assert _check(provider, issuer.token("alice", [], **claims)) == "sub-alice"


def test_an_id_token_is_of_this_login_and_for_us(issuer: Issuer, provider: Provider) -> None:
    """A stolen one of another login, or one issued to another client, does not log in."""
    assert _check(provider, issuer.token("alice", [], nonce="mine"), "mine") == "sub-alice"
    with pytest.raises(JwtRefusedError, match="another login"):
        _check(provider, issuer.token("alice", [], nonce="theirs"), "mine")
    with pytest.raises(JwtRefusedError, match="another login"):
        _check(provider, issuer.token("alice", []), "mine")
    for claims in ({"aud": [CLIENT, "x"]}, {"azp": "x"}, {"aud": [CLIENT, "x"], "azp": "x"}):
        with pytest.raises(JwtRefusedError, match="another audience"):
            _check(provider, issuer.token("alice", [], nonce="mine", **claims), "mine")


def test_rotated_keys(issuer: Issuer, provider: Provider, clock: Clock) -> None:
    """A new key counts at once, a withdrawn one until the keys are read again."""
    before = issuer.token("alice", [])
    assert _check(provider, before) == "sub-alice"
    clock.now += RETRY_S
    issuer.keys = [key("second")]
    assert _check(provider, issuer.token("alice", [])) == "sub-alice"
    with pytest.raises(JwtRefusedError, match="key is not"):
        _check(provider, before)


def test_a_withdrawn_key_ends_without_a_new_one(
    issuer: Issuer, provider: Provider, clock: Clock
) -> None:
    """Within the time for which keys are remembered."""
    stolen = issuer.token("alice", [])
    issuer.keys.append(key("second"))
    assert _check(provider, stolen) == "sub-alice"
    issuer.keys.pop(0)
    clock.now += FRESH_S
    with pytest.raises(JwtRefusedError, match="key is not"):
        _check(provider, stolen)


def test_known_keys_count_while_the_provider_is_away_but_not_for_ever(
    issuer: Issuer, provider: Provider, clock: Clock
) -> None:
    """An unknown key fails closed meanwhile, and all do in the end."""
    known, other = issuer.token("alice", []), issuer.sign(_CLAIMS, header={"kid": "new"})
    assert _check(provider, known) == "sub-alice"
    issuer.away = True
    clock.now += KEPT_S - 1
    assert _check(provider, known) == "sub-alice"
    with pytest.raises(JwtRefusedError, match="key is not"):
        _check(provider, other)
    clock.now += 1
    for text in (known, other):
        with pytest.raises(ProviderUnavailableError, match="a break-glass token lets people in"):
            _check(provider, text)
    issuer.away = False
    clock.now += RETRY_S
    assert _check(provider, known) == "sub-alice"


def test_invented_keys_do_not_flood_the_provider(
    issuer: Issuer, provider: Provider, clock: Clock
) -> None:
    """It is asked once in ten seconds."""
    for number in range(50):
        with pytest.raises(JwtRefusedError, match="key is not"):
            _check(provider, issuer.sign(_CLAIMS, header={"kid": f"k{number}"}))
    assert issuer.asked.count("/keys") == 1
    clock.now += RETRY_S
    with pytest.raises(JwtRefusedError, match="key is not"):
        _check(provider, issuer.sign(_CLAIMS, header={"kid": "again"}))
    assert issuer.asked.count("/keys") == 2


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://login.example/keys"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"jwks_uri": f"{ISSUER}/elsewhere"},
    ],
)
def test_an_unusable_provider_fails_closed(
    issuer: Issuer, provider: Provider, document: dict[str, str | None]
) -> None:
    """Of another name, without TLS, or without keys."""
    issuer.document = document
    with pytest.raises(ProviderUnavailableError):
        _check(provider, issuer.token("alice", []))


@pytest.mark.parametrize(
    "weak",
    [
        {"kty": "oct", "kid": "first", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "first", "n": "AQAB" * 40, "e": "AQAB"},
        {"kty": "EC", "kid": "first", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "first", "use": "enc"},
        "text",
    ],
)
def test_a_weak_or_broken_key_is_none(weak: object, clock: Clock) -> None:
    """A shared secret that was published is known to all."""
    issuer = Issuer()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/keys":
            return httpx.Response(200, json={"keys": [weak]})
        return issuer.answer(request)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    provider = Provider(issuer=ISSUER, client=client, monotonic=clock)
    with pytest.raises(ProviderUnavailableError):
        _check(provider, issuer.token("alice", []))
