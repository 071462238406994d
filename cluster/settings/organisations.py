"""The organisation of requests and commands, the key of the endpoint, the shares and quotas of organisations,
and the issuer of tokens."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, SecretStr, field_validator, model_validator

from cluster.settings.addresses import is_loopback
from cluster.settings.values import Concern, Table


class OrganisationSettings(Concern):
    """The organisation of requests and commands, the key of the endpoint, and the shares and quotas of
    organisations."""

    organisation: str = Field(default="default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    """The organisation of every request, and of commands that name no organisation."""

    api_key: SecretStr | None = Field(default=None, min_length=8)
    """The operator's key, of at least 8 characters, sent as ``Authorization: Bearer ...``. A request with
    this key acts for the organisation that the header ``OpenAI-Organization`` names. Unset: requests need a
    key of an organisation (``python -m cluster.keys``), or no key, while no key exists and only this machine
    can connect."""

    organisation_weights: Annotated[dict[str, PositiveFloat], AfterValidator(Table)] = Table()
    """Shares of a model's time between organisations that compete for it, as JSON: organisation to weight. An
    organisation without an entry has weight 1."""

    organisation_requests_per_minute: int = Field(default=0, ge=0)
    """Maximum number of requests of an organisation in a minute, for organisations without a limit in their
    row. A further request is refused with 429. 0: no limit."""

    organisation_tokens_per_minute: int = Field(default=0, ge=0)
    """Maximum number of tokens that models read for requests of an organisation in a minute, for
    organisations without a limit in their row. A further request is refused with 429. 0: no limit."""

    organisation_files: int = Field(default=0, ge=0)
    """Maximum number of files of an organisation. A further upload is refused with 429. 0: no limit."""

    organisation_schedules: int = Field(default=100, ge=0)
    """Maximum number of schedules of an organisation. A further schedule is refused with 429. 0: no limit."""

    platform_data_days: int = Field(default=0, ge=0, le=36_500)
    """Number of days for which events, messages and conversations are kept. Older ones are deleted at night,
    if their roll-ups are complete; the roll-ups stay. 0: keep all."""

    profiles_need_consent: bool = False
    """True: only customers whose field ``profiling`` is true get a profile. False: all customers except those
    whose field ``profiling`` is false."""

    profiles_model: str | None = Field(default=None, min_length=1)
    """Name of the model that embeds the messages of customers for their profiles. Unset: the default model,
    if this cluster computes its vectors. Messages are sent to a provider only if this setting names a
    provider's model; otherwise profiles have no sentiment and no topics."""

    propensity_days: int = Field(default=90, ge=1, le=1_000)
    """Length in days of the period in which profiles predict whether a customer buys again."""

    organisation_bytes: int = Field(default=0, ge=0)
    """Maximum number of bytes of all files of an organisation. A further upload is refused with 429. 0: no
    limit."""

    usage_report_grace_days: int = Field(default=3, ge=0, le=60)
    """Days between the end of a billing period and its final usage report. Usage that arrives in these days
    is part of the report; later usage is an adjustment of the next report."""

    usage_report_draft_days: int = Field(default=90, ge=1)
    """Days after which drafts of usage reports are deleted. Final reports are never deleted."""


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
