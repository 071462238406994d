"""Find the caller of a request by a token of an OpenID Connect issuer.

The endpoint (``serve_app.edge.authentication``) calls ``identify`` for a request that carries a JSON Web
Token in place of a key. The issuer must have signed the token for this cluster, the token must be valid now,
and it must name an organisation of this cluster. A token never operates the cluster.

    tokens = IssuerTokens(settings, rates_of=keys.rates_of)
    caller = await tokens.identify(b"eyJ...", None)
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt

from cluster.errors import NotAuthenticated, NotPermitted
from cluster.oidc.issuer_keys import ALGORITHMS, IssuerKey, IssuerKeys
from cluster.organisations.caller import Caller, CallerKind, Scope
from cluster.organisations.rates import Rates
from cluster.settings import Settings

#: The first characters of every JSON Web Token: ``{"`` in base64.
FIRST_BYTES = b"eyJ"
MAX_TOKEN_BYTES = 16 * 1024
#: Seconds by which the clocks of the issuer and of this machine may differ.
LEEWAY_S = 30
#: Values of the header ``typ`` of tokens for services. Tokens with another type are for other purposes.
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
#: The claims that every token needs.
REQUIRED_CLAIMS = ("iss", "aud", "exp", "sub")
MAX_SUBJECT_CHARACTERS = 255
MAX_GROUPS = 1_000
MAX_GROUP_CHARACTERS = 256
GET_NEW = "get a new token from the issuer"

#: For each error of PyJWT, the sentence for the caller. The first class that fits is used.
SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, f"The token has expired; {GET_NEW}"),
    (jwt.ImmatureSignatureError, "The token is not valid yet; send it later, or correct the issuer's clock"),
    (
        jwt.InvalidAudienceError,
        "The token is for another audience than CLUSTER_OIDC_AUDIENCE; get one for it",
    ),
    (jwt.InvalidIssuerError, "The token is from another issuer than CLUSTER_OIDC_ISSUER; get one from it"),
    (jwt.InvalidSignatureError, f"The signature of the token is wrong; {GET_NEW}"),
)


def may_be_a_token(key: bytes) -> bool:
    """Return True if the key of a request has the form of a signed JSON Web Token."""
    return key.startswith(FIRST_BYTES) and key.count(b".") == 2


class IssuerTokens:
    """Checks tokens. ``identify`` is called on the event loop.

    Args:
        settings: the settings with the issuer, the audience and the names of the claims.
        rates_of: returns the rates of an organisation; None if it does not exist or is deleted.
    """

    def __init__(
        self, settings: Settings, rates_of: Callable[[str], Awaitable[tuple[Rates, ...] | None]]
    ) -> None:
        self._settings = settings
        self._rates_of = rates_of
        self._keys = IssuerKeys(settings)

    async def identify(
        self,
        token: bytes,
        organisation: str | None,
        *,
        address: str | None = None,
        request: str | None = None,
    ) -> Caller:
        """Return the caller with this token.

        Args:
            token: the token as it was sent.
            organisation: the organisation that the request names; None: the request names no organisation.
            address: the address from which the request came; None: unknown.
            request: the id of the request; None: the request has no id.

        Raises:
            NotAuthenticated: the token is not valid here, or the request names another organisation.
            NotPermitted: the token has no scope, no organisation, or the id of an organisation that does not
                exist or is deleted.
            Unavailable: the keys of the issuer or the organisations are not known.
        """
        claims = await self._claims(token)
        subject, (tenant, rates) = _subject(claims), await self._tenant(claims)
        if organisation and organisation != tenant:
            raise NotAuthenticated(
                f"The header OpenAI-Organization names {organisation!r}, and the token belongs to another "
                "organisation; leave out the header"
            )
        return Caller(
            kind=CallerKind.TOKEN,
            id=subject,
            organisation=tenant,
            scopes=self._scopes(claims),
            rates=rates,
            principals=frozenset({f"user:{subject}", *(f"group:{name}" for name in self._groups(claims))}),
            address=address,
            request=request,
        )

    async def _claims(self, token: bytes) -> Mapping[str, Any]:
        """Return the claims of the token after all checks of its signature and its validity.

        Raises:
            NotAuthenticated, Unavailable: as in ``identify``.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise NotAuthenticated(
                f"The token has over {MAX_TOKEN_BYTES:,} bytes; get a token with fewer claims"
            )
        try:
            key, algorithm = await self._key(jwt.get_unverified_header(token))
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                leeway=LEEWAY_S,
                options={"require": list(REQUIRED_CLAIMS)},
            )
        except jwt.MissingRequiredClaimError as exc:
            raise NotAuthenticated(f"The token has no claim {exc.claim}; {GET_NEW}") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as exc:
            for kind, sentence in SENTENCES:
                if isinstance(exc, kind):
                    raise NotAuthenticated(sentence) from None
            raise NotAuthenticated(f"The token is not a valid JSON Web Token; {GET_NEW}") from None
        return claims

    async def _key(self, header: Mapping[str, Any]) -> tuple[IssuerKey, str]:
        """Return the issuer's key that must have signed the token, and the algorithm."""
        algorithm, id, type = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise NotAuthenticated(
                f"The token is not signed with one of the algorithms {', '.join(sorted(ALGORITHMS))}"
            )
        if "crit" in header or not isinstance(type, str) or type.lower() not in TYPES:
            raise NotAuthenticated("The token is not an access token (typ JWT or at+jwt, without crit)")
        key = await self._keys.find(id, algorithm)
        if key is None:
            raise NotAuthenticated(f"The issuer has no key with the token's kid and algorithm; {GET_NEW}")
        return key, algorithm

    async def _tenant(self, claims: Mapping[str, Any]) -> tuple[str, tuple[Rates, ...]]:
        """Return the organisation of the token, and its rates.

        Raises:
            NotPermitted, Unavailable: as in ``identify``.
        """
        name = self._settings.oidc_tenant_claim
        tenant = claims.get(name)
        rates = await self._rates_of(tenant) if isinstance(tenant, str) else None
        if not isinstance(tenant, str) or rates is None:
            raise NotPermitted(
                f"the claim {name} of the token must be the id of an organisation that exists here and is "
                "not deleted; ask the issuer's operator to set it"
            )
        return tenant, rates

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        name, prefix = self._settings.oidc_scopes_claim, self._settings.oidc_scope_prefix
        value = claims.get(name, ())
        listed = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
        given = {one for one in listed if isinstance(one, str)}
        scopes = frozenset(scope for scope in Scope if prefix + scope in given)
        if not scopes:
            raise NotPermitted(
                f"the claim {name} of the token has none of the scopes "
                f"{', '.join(prefix + scope for scope in Scope)}; ask the issuer for a token with one of them"
            )
        return scopes

    def _groups(self, claims: Mapping[str, Any]) -> list[str]:
        name = self._settings.oidc_groups_claim
        groups = claims.get(name, [])
        if (
            not isinstance(groups, list)
            or len(groups) > MAX_GROUPS
            or not all(isinstance(one, str) and 0 < len(one) <= MAX_GROUP_CHARACTERS for one in groups)
        ):
            raise NotPermitted(
                f"the claim {name} of the token must be a list of at most {MAX_GROUPS:,} names with 1 to "
                f"{MAX_GROUP_CHARACTERS} characters"
            )
        return groups


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_CHARACTERS and subject.isprintable():
        return subject
    raise NotAuthenticated(
        f"The claim sub of the token must have 1 to {MAX_SUBJECT_CHARACTERS} printable characters"
    )
