"""An OpenID Connect issuer on this machine: it publishes keys over HTTP, and signs tokens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.cluster.outbound.outside import OutsideHandler, OutsideServer, outside

AUDIENCE = "the cluster"
DISCOVERY, JWKS = "/tenant/.well-known/openid-configuration", "/keys"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """Signs tokens with the private keys that it has, and publishes their public keys."""

    def __init__(self, server: OutsideServer) -> None:
        self.server = server
        self.url = server.url("/tenant")
        #: Answer with an error in place of the documents.
        self.down = False
        self.keys: dict[str, PrivateKey] = {}
        server.answers = {DISCOVERY: self._discovery, JWKS: self._jwks}
        self.add("rsa-1", rsa.generate_private_key(65_537, 2_048))
        self.add("ec-1", ec.generate_private_key(ec.SECP256R1()))

    @property
    def reads(self) -> int:
        """How often the keys were read."""
        return sum(path == JWKS for _, path, _, _ in self.server.requests)

    def add(self, kid: str, key: PrivateKey) -> None:
        """Publish a further key."""
        self.keys[kid] = key

    def token(
        self,
        kid: str | None = "rsa-1",
        *,
        key: Any = None,
        algorithm: str | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a token with these claims beside the usual ones; a claim that is None is left out."""
        now = int(time.time())
        all_claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "exp": now + 300,
            "scope": "openid read write admin",
            **claims,
        }
        private = self.keys[kid or "rsa-1"] if key is None else key
        usual = "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"
        kept = {name: value for name, value in all_claims.items() if value is not None}
        names = {"kid": kid} if kid else {}
        return jwt.encode(kept, private, algorithm or usual, headers={**names, **(header or {})})

    def _discovery(self, handler: OutsideHandler) -> None:
        self._answer(handler, {"issuer": self.url, "jwks_uri": self.server.url(JWKS)})

    def _jwks(self, handler: OutsideHandler) -> None:
        self._answer(handler, {"keys": [public_jwk(kid, key) for kid, key in self.keys.items()]})

    def _answer(self, handler: OutsideHandler, document: Any) -> None:
        if self.down:
            handler.answer(503)
        else:
            handler.answer(200, json.dumps(document).encode(), content_type="application/json")


def public_jwk(kid: str, key: PrivateKey) -> dict[str, Any]:
    """The public key as an entry of a JSON Web Key Set."""
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    entry: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))  # type: ignore[attr-defined]
    return {**entry, "kid": kid, "use": "sig"}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer that runs in the block."""
    with outside("127.0.0.1") as server:
        yield Issuer(server)
