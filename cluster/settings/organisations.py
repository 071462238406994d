"""Organisations: the key of the endpoint, shares and quotas."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveFloat, SecretStr

from cluster.settings.values import Concern, Table


class OrganisationSettings(Concern):
    """Organisations: the key of the endpoint, shares and quotas."""

    organisation: str = Field(default="default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    """Whose data a command works on when nobody says otherwise."""

    api_key: SecretStr | None = Field(default=None, min_length=8)
    """What a caller sends as ``Authorization: Bearer ...``. Unset: nobody has to, and the endpoint keeps to the loopback interface."""

    organisation_weights: Annotated[dict[str, PositiveFloat], AfterValidator(Table)] = Table()
    """Shares of the model between organisations that compete for it, as JSON; 1 where none is given."""

    organisation_files: int = Field(default=0, ge=0)
    """Most files an organisation may keep; beyond it uploads are refused with 429. 0: no limit."""

    organisation_bytes: int = Field(default=0, ge=0)
    """Most bytes of files an organisation may keep; beyond it uploads are refused with 429. 0: no limit."""
