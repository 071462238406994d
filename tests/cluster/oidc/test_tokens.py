"""A token of the issuer names its caller, and no other text does."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from cluster.errors import NotAuthenticated, NotPermitted, Unavailable
from cluster.oidc import issuer_keys
from cluster.oidc.issuer_keys import IssuerKeys, usable_keys
from cluster.oidc.tokens import IssuerTokens, may_be_a_token
from cluster.organisations.caller import Caller, CallerKind, Scope
from cluster.organisations.rates import Rates
from cluster.settings import Settings
from tests.cluster.oidc.issuer import AUDIENCE, Issuer, public_jwk, running_issuer

RATES = Rates(name="acme", owner="organisation acme", requests=600, tokens=None)
SMALL_RSA = rsa.generate_private_key(65_537, 1_024)
FOREIGN_EC = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer of this module's own, whose keys change."""
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def tokens(issuer: Issuer) -> IssuerTokens:
    """Checks tokens for the organisation "acme"; "gone" is deleted."""
    issuer.down = False
    return IssuerTokens(settings_of(issuer), rates_of)


def settings_of(issuer: Issuer, **changes: Any) -> Settings:
    return Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, **changes)


async def rates_of(organisation: str) -> tuple[Rates, ...] | None:
    """The organisation "acme" exists and has a rate."""
    return (RATES,) if organisation == "acme" else None


def identify(tokens: IssuerTokens, *sent: str, organisation: str | None = None) -> Caller:
    """The caller of the last token."""

    async def each() -> Caller:
        for token in sent:
            caller = await tokens.identify(token.encode(), organisation, address="10.0.0.1", request="req_1")
        return caller

    return asyncio.run(each())


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1"])
def test_a_token_names_its_caller(issuer: Issuer, tokens: IssuerTokens, kid: str) -> None:
    token = issuer.token(kid, organisation="acme", scope="openid read write", groups=["staff", "a:b"])
    caller = identify(tokens, token)
    assert caller == Caller(
        kind=CallerKind.TOKEN,
        id="ada",
        organisation="acme",
        scopes=frozenset({Scope.READ, Scope.WRITE}),
        rates=(RATES,),
        principals=frozenset({"user:ada", "group:staff", "group:a:b"}),
        address="10.0.0.1",
        request="req_1",
    )
    assert not caller.operates
    assert may_be_a_token(token.encode())


def test_the_names_of_the_claims_are_settings(issuer: Issuer) -> None:
    changes = {
        "oidc_tenant_claim": "https://acme.example/tenant",
        "oidc_scopes_claim": "scp",
        "oidc_scope_prefix": "embeddings:",
        "oidc_groups_claim": "roles",
    }
    tokens = IssuerTokens(settings_of(issuer, **changes), rates_of)
    claims = {"https://acme.example/tenant": "acme", "scp": ["embeddings:admin", "read"], "roles": ["ops"]}
    caller = identify(tokens, issuer.token(**claims))
    assert caller.scopes == {Scope.ADMIN}
    assert caller.principals == {"user:ada", "group:ops"}


def part(value: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(issuer: Issuer) -> str:
    """A token with the algorithm "none"."""
    claims = jwt.decode(issuer.token(organisation="acme"), options={"verify_signature": False})
    return f"{part({'alg': 'none', 'kid': 'rsa-1'})}.{part(claims)}."


def signed_with_the_public_key(issuer: Issuer) -> str:
    """A token with HS256 whose secret is the public key, which everybody can read."""
    public = issuer.keys["rsa-1"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    import hashlib
    import hmac

    claims = jwt.decode(issuer.token(organisation="acme"), options={"verify_signature": False})
    signed = f"{part({'alg': 'HS256', 'kid': 'rsa-1'})}.{part(claims)}"
    digest = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


NOW = int(time.time())
Make = Callable[[Issuer], str]
REFUSED: dict[str, tuple[Make, str]] = {
    "no algorithm": (unsigned, "not signed with one of the algorithms"),
    "the public key as a secret": (signed_with_the_public_key, "not signed with one of the algorithms"),
    "a key of another issuer": (lambda i: i.token("ec-1", key=FOREIGN_EC, organisation="acme"), "signature"),
    "an algorithm of another key": (
        lambda i: i.token("rsa-1", key=FOREIGN_EC, organisation="acme"),
        "no key with the token's kid",
    ),
    "an unknown key": (lambda i: i.token("other", key=FOREIGN_EC), "no key with the token's kid"),
    "no key id, and several keys": (
        lambda i: i.token(None, key=i.keys["two-1"], organisation="acme"),
        "no key with the token's kid",
    ),
    "another issuer": (lambda i: i.token(iss="https://evil.example"), "another issuer"),
    "another audience": (lambda i: i.token(aud=["a", "b"]), "another audience"),
    "no audience": (lambda i: i.token(aud=None), "no claim aud"),
    "expired": (lambda i: i.token(exp=NOW - 60), "has expired"),
    "without an end": (lambda i: i.token(exp=None), "no claim exp"),
    "not yet valid": (lambda i: i.token(nbf=NOW + 86_400), "not valid yet"),
    "no subject": (lambda i: i.token(sub=None), "no claim sub"),
    "an unprintable subject": (lambda i: i.token(sub="a\nb", organisation="acme"), "claim sub"),
    "another type": (lambda i: i.token(header={"typ": "logout+jwt"}), "not an access token"),
    "unknown extensions": (lambda i: i.token(header={"crit": ["x"], "x": 1}), "not a"),
    "too long": (lambda i: i.token(more="x" * 20_000), "has over 16,384 bytes"),
    "no JSON": (lambda i: "eyJhbGciOiJSUzI1NiJ9.eyJ.x", "not a valid JSON Web Token"),
    "deep JSON": (lambda i: f"{part([])}.{part([])}.x".replace(part([]), "W1tb" * 2_000), "not a valid"),
    "a changed claim": (
        lambda i: ".".join([(t := i.token().split("."))[0], part({"sub": "eve"}), t[2]]),
        "signature",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_tokens_are_refused(issuer: Issuer, tokens: IssuerTokens, name: str) -> None:
    issuer.add("two-1", rsa.generate_private_key(65_537, 2_048)) if "two-1" not in issuer.keys else None
    make, message = REFUSED[name]
    token = make(issuer)
    with pytest.raises(NotAuthenticated, match=message) as refusal:
        identify(tokens, token)
    assert token not in str(refusal.value)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({}, "claim organisation of the token must be the id of an organisation"),
        ({"organisation": "gone"}, "exists here and is not deleted"),
        ({"organisation": ["acme"]}, "claim organisation"),
        ({"organisation": "acme", "scope": "openid operator"}, "none of the scopes read, write, admin"),
        ({"organisation": "acme", "scope": {"read": 1}}, "none of the scopes"),
        ({"organisation": "acme", "groups": "staff"}, "claim groups of the token must be a list"),
        ({"organisation": "acme", "groups": ["x" * 300]}, "claim groups"),
    ],
)
def test_a_valid_token_without_the_needed_claims_is_not_permitted(
    issuer: Issuer, tokens: IssuerTokens, claims: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotPermitted, match=message):
        identify(tokens, issuer.token(**claims))


def test_the_header_cannot_choose_another_organisation(issuer: Issuer, tokens: IssuerTokens) -> None:
    token = issuer.token(organisation="acme")
    assert identify(tokens, token, organisation="acme").organisation == "acme"
    with pytest.raises(NotAuthenticated, match="belongs to another organisation"):
        identify(tokens, token, organisation="other")


def test_clocks_may_differ_by_some_seconds(issuer: Issuer, tokens: IssuerTokens) -> None:
    now = int(time.time())
    assert identify(tokens, issuer.token(organisation="acme", exp=now - 10, nbf=now - 20)).id == "ada"
    assert identify(tokens, issuer.token(organisation="acme", nbf=now + 10)).id == "ada"


def test_a_new_key_works_at_once_and_a_removed_key_stops(
    issuer: Issuer, tokens: IssuerTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "MIN_REFRESH_S", 0.0)
    first = issuer.token("ec-1", organisation="acme")

    async def rotate() -> None:
        await tokens.identify(first.encode(), None)
        old = issuer.keys.pop("ec-1")
        issuer.add("ec-2", ec.generate_private_key(ec.SECP256R1()))
        await tokens.identify(issuer.token("ec-2", organisation="acme").encode(), None)
        with pytest.raises(NotAuthenticated, match="no key"):
            await tokens.identify(first.encode(), None)
        issuer.keys["ec-1"] = old

    asyncio.run(rotate())


def test_many_unknown_keys_cause_one_read(issuer: Issuer, tokens: IssuerTokens) -> None:
    before = issuer.reads

    async def flood() -> None:
        await tokens.identify(issuer.token(organisation="acme").encode(), None)
        sent = [issuer.token(f"unknown-{n}", key=FOREIGN_EC).encode() for n in range(50)]
        answers = await asyncio.gather(*(tokens.identify(one, None) for one in sent), return_exceptions=True)
        assert {type(answer) for answer in answers} == {NotAuthenticated}

    asyncio.run(flood())
    assert issuer.reads == before + 1


def test_an_issuer_that_is_away_keeps_its_known_keys_and_no_others(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "MIN_REFRESH_S", 0.0)
    tokens = IssuerTokens(settings_of(issuer), rates_of)
    token = issuer.token(organisation="acme").encode()

    async def outage() -> None:
        issuer.down = True
        with pytest.raises(Unavailable, match="does not answer"):
            await tokens.identify(token, None)
        issuer.down = False
        await tokens.identify(token, None)
        issuer.down = True
        monkeypatch.setattr(issuer_keys, "REFRESH_S", 0.0)
        for _ in range(3):
            assert (await tokens.identify(token, None)).id == "ada"
            await asyncio.sleep(0.05)
        with pytest.raises(NotAuthenticated, match="no key"):
            await tokens.identify(issuer.token("unknown", key=FOREIGN_EC).encode(), None)
        monkeypatch.setattr(issuer_keys, "KEPT_S", 0.0)
        with pytest.raises(Unavailable):
            await tokens.identify(token, None)
        issuer.down = False

    asyncio.run(outage())


def test_only_public_keys_for_signatures_are_used(issuer: Issuer) -> None:
    public = public_jwk("a", issuer.keys["rsa-1"])
    entries = [
        public,
        {**public, "kid": "b", "use": "enc"},
        {**public, "kid": "c", "n": "AQAB"},
        {"kty": "oct", "kid": "d", "k": "c2VjcmV0"},
        public_jwk("e", SMALL_RSA),
        {**public, "kid": "f", "alg": "RS512"},
        {"kty": "unknown", "kid": "g"},
        "h",
    ]
    found = {key.id: key.algorithms for key in usable_keys({"keys": entries})}
    assert found == {"a": issuer_keys.RSA_ALGORITHMS, "f": ("RS512",)}


def test_a_discovery_document_of_another_issuer_is_refused(issuer: Issuer) -> None:
    keys = IssuerKeys(settings_of(issuer).model_copy(update={"oidc_issuer": f"{issuer.url}/"}))
    with pytest.raises(Unavailable):
        asyncio.run(keys.find("rsa-1", "RS256"))


@pytest.mark.parametrize(
    ("issuer_url", "audience"),
    [
        ("http://issuer.example", "a"),
        ("https://user@issuer.example", "a"),
        ("https://issuer.example?x=1", "a"),
        ("issuer.example", "a"),
        ("https://issuer.example", None),
    ],
)
def test_settings_that_would_weaken_the_check_are_refused(issuer_url: str, audience: str | None) -> None:
    with pytest.raises(ValidationError, match=r"(?i)oidc_"):
        Settings(oidc_issuer=issuer_url, oidc_audience=audience)
