"""The organisation of requests and commands, the key of the endpoint, and the shares and quotas of
organisations."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveFloat, SecretStr

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

    organisation_bytes: int = Field(default=0, ge=0)
    """Maximum number of bytes of all files of an organisation. A further upload is refused with 429. 0: no
    limit."""

    usage_report_grace_days: int = Field(default=3, ge=0, le=60)
    """Days between the end of a billing period and its final usage report. Usage that arrives in these days
    is part of the report; later usage is an adjustment of the next report."""

    usage_report_draft_days: int = Field(default=90, ge=1)
    """Days after which drafts of usage reports are deleted. Final reports are never deleted."""
