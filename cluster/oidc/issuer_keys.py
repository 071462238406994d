"""Read and keep the public keys of an OpenID Connect issuer.

``tokens`` looks up the key of each token. The keys are read when the first token arrives, again every
``REFRESH_S`` seconds while tokens arrive, and when a token names a key that is not known, because the issuer
may have a new key. The issuer is asked at most once in ``MIN_REFRESH_S`` seconds, however many tokens arrive.
While the issuer does not answer, the known keys stay valid for ``KEPT_S`` seconds.

    keys = IssuerKeys(settings)
    key = await keys.find("2026-11", "ES256")
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from cluster.errors import ClusterError, Misconfigured, Unavailable
from cluster.outbound import AsyncOutboundClient
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Path of the discovery document (OpenID Connect Discovery 1.0, section 4).
DISCOVERY_PATH = "/.well-known/openid-configuration"
#: Seconds after which the keys are read again.
REFRESH_S = 300.0
#: Minimum seconds between two reads of the keys.
MIN_REFRESH_S = 10.0
#: Seconds for which known keys stay valid while the issuer does not answer.
KEPT_S = 86_400.0
#: Maximum seconds for each of the two requests of a read.
DEADLINE_S = 5.0
#: Maximum number of bytes of each of the two documents.
MAX_BYTES = 256 * 1024
#: Maximum number of keys that are used.
MAX_KEYS = 100
#: Minimum number of bits of an RSA key (RFC 7518, section 3.3).
MIN_RSA_BITS = 2_048

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
#: For each curve, the algorithm that uses it.
CURVE_ALGORITHMS = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
#: All algorithms that a token may have. All are asymmetric, so nobody can sign a token with a public key.
ALGORITHMS = frozenset({*RSA_ALGORITHMS, "ES256", "ES384", "ES512", "EdDSA"})
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuerKey:
    """A public key of the issuer."""

    #: Id of the key; None if the issuer gave it no id.
    id: str | None
    public: PublicKey
    #: The algorithms of signatures that this key may check.
    algorithms: tuple[str, ...]


class IssuerKeys:
    """The public keys of the issuer in the settings. All methods are called on one event loop.

    Args:
        settings: the settings with the issuer.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        self._issuer = settings.oidc_issuer
        self._scheme = urlsplit(self._issuer).scheme
        port = urlsplit(self._issuer).port
        # The operator chose the issuer, so it may be at an address that tenants must not reach. The client of
        # the requests that tenants cause is another one.
        self._client = AsyncOutboundClient(
            settings.model_copy(
                update={
                    "outbound_allow_cidrs": ("0.0.0.0/0", "::/0"),
                    "outbound_deny_cidrs": (),
                    "outbound_ports": () if port is None else (port,),
                }
            )
        )
        self._keys: Sequence[IssuerKey] = ()
        #: Times on the clock ``time.monotonic``: of the last successful read, and of the next permitted read.
        self._read_at = float("-inf")
        self._next_read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._failing = False

    async def find(self, id: str | None, algorithm: str) -> IssuerKey | None:
        """Return the key with this id for this algorithm; None if the issuer has no such key.

        Args:
            id: the id in the token. None: the token names no key, so the issuer must have exactly one key
                for the algorithm.
            algorithm: the algorithm in the token.

        Raises:
            Unavailable: no keys are known, and the issuer does not answer.
        """
        age_s = time.monotonic() - self._read_at
        if age_s >= KEPT_S:
            await self._read_again()
            if time.monotonic() - self._read_at >= KEPT_S:
                raise Unavailable(
                    "the issuer of tokens (CLUSTER_OIDC_ISSUER) does not answer, so this token cannot be "
                    "checked; send the request again",
                    retry_after_s=1.0,
                )
        elif age_s >= REFRESH_S:
            self._start()
        if id is not None and all(key.id != id for key in self._keys):
            await self._read_again()
        found = [key for key in self._keys if algorithm in key.algorithms and id in (None, key.id)]
        return found[0] if len(found) == 1 or (found and id is not None) else None

    async def _read_again(self) -> None:
        """Wait until the keys were read, unless they were read less than ``MIN_REFRESH_S`` seconds ago."""
        reading = self._start()
        if reading is not None:
            await asyncio.shield(reading)  # other requests wait for it, too

    def _start(self) -> "asyncio.Task[None] | None":
        """Return the task that reads the keys; None if no read is permitted now."""
        if self._reading is None and time.monotonic() >= self._next_read_at:
            # The task belongs to no request, so it starts without the caller and the id of this request.
            self._reading = asyncio.get_running_loop().create_task(self._read(), context=Context())
            self._reading.add_done_callback(self._ended)
        return self._reading

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        self._next_read_at = time.monotonic() + MIN_REFRESH_S
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("oidc_keys_not_read", error=repr(error))

    async def _read(self) -> None:
        try:
            document = await self._get(self._issuer.rstrip("/") + DISCOVERY_PATH)
            if document.get("issuer") != self._issuer:
                raise Misconfigured(
                    f"the discovery document names the issuer {document.get('issuer')!r}, and "
                    f"CLUSTER_OIDC_ISSUER is {self._issuer!r}; both must be equal"
                )
            url = document.get("jwks_uri")
            if not isinstance(url, str) or urlsplit(url).scheme not in {"https", self._scheme}:
                raise Misconfigured("the discovery document has no jwks_uri that begins with https://")
            keys = usable_keys(await self._get(url))
            if not keys:
                raise Misconfigured("the issuer has no public key for an asymmetric algorithm")
        except (ClusterError, ValueError) as exc:
            if not self._failing:
                kept_s = max(0.0, self._read_at + KEPT_S - time.monotonic())
                log.warning("oidc_keys_not_read", reason=str(exc), known_keys_valid_s=round(kept_s))
            self._failing = True
            return
        self._keys, self._read_at, self._failing = keys, time.monotonic(), False
        log.info("oidc_keys_read", keys=[key.id for key in keys])

    async def _get(self, url: str) -> Mapping[str, Any]:
        answer = await self._client.get(
            url, max_bytes=MAX_BYTES, deadline_s=DEADLINE_S, follow_redirects=False
        )
        if answer.status != 200:
            raise Unavailable(f"{url} answers with the status {answer.status}")
        document = orjson.loads(answer.body)
        if not isinstance(document, dict):
            raise Misconfigured(f"{url} is not a JSON object")
        return document


def usable_keys(document: Mapping[str, Any]) -> list[IssuerKey]:
    """Return the public keys for signatures in a JSON Web Key Set. Other keys are left out."""
    listed = document.get("keys")
    keys = listed[:MAX_KEYS] if isinstance(listed, list) else []
    return [key for one in keys if isinstance(one, dict) and (key := _usable(one)) is not None]


def _usable(entry: dict[str, Any]) -> IssuerKey | None:
    id = entry.get("kid")
    if entry.get("use", "sig") != "sig" or not isinstance(id, str | None):
        return None
    try:
        public = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    match public:
        case RSAPublicKey() if public.key_size >= MIN_RSA_BITS:
            algorithms: tuple[str, ...] = RSA_ALGORITHMS
        case EllipticCurvePublicKey():
            algorithms = CURVE_ALGORITHMS.get(public.curve.name, ())
        case Ed25519PublicKey():
            algorithms = ("EdDSA",)
        case _:
            return None
    only = entry.get("alg")
    algorithms = tuple(name for name in algorithms if only in (None, name))
    return IssuerKey(id=id, public=public, algorithms=algorithms) if algorithms else None
