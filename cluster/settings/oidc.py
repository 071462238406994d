"""The issuer whose tokens requests may carry in place of an API key, and the claims of these tokens."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from cluster.settings.addresses import is_loopback
from cluster.settings.values import Concern


class OidcSettings(Concern):
    """The issuer whose tokens requests may carry in place of an API key, and the claims of these tokens."""

    oidc_issuer: str | None = None
    """URL of an OpenID Connect issuer, exactly as its tokens name it in ``iss``. It begins with https://, or
    with http:// on this machine. Unset: tokens are refused."""

    oidc_audience: str | None = Field(default=None, min_length=1)
    """The audience (``aud``) that tokens must be for. It must be set with ``CLUSTER_OIDC_ISSUER``."""

    oidc_tenant_claim: str = Field(default="organisation", min_length=1)
    """Name of the claim with the id of the organisation for which a token acts."""

    oidc_scopes_claim: str = Field(default="scope", min_length=1)
    """Name of the claim with the scopes ``read``, ``write`` and ``admin``: a text with spaces, or a list."""

    oidc_scope_prefix: str = ""
    """Text before each scope in a token, such as ``embeddings:``. Scopes without this text are ignored."""

    oidc_groups_claim: str = Field(default="groups", min_length=1)
    """Name of the claim with the list of groups of the person or service that a token is for."""

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer_is_a_url(cls, issuer: str | None) -> str | None:
        if issuer is None:
            return None
        parts = urlsplit(issuer)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not secure or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(
                "oidc_issuer must be a URL that begins with https:// (http:// only on this machine), without "
                "a user name, a query or a fragment"
            )
        return issuer

    @model_validator(mode="after")
    def _issuer_needs_an_audience(self) -> Self:
        if self.oidc_issuer is not None and self.oidc_audience is None:
            raise ValueError(
                "CLUSTER_OIDC_ISSUER needs CLUSTER_OIDC_AUDIENCE: without it, a token that the issuer made "
                "for another service would work here"
            )
        return self
