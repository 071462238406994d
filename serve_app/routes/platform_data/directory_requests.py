"""The models of the requests that add and change customers."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from cluster.platform_data.event_data import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS
from cluster.platform_data.read_events import MAX_DATA_BYTES
from cluster.text.storable_text import is_text
from cluster.text.well_formed import json_bytes
from serve_app.edge.request_model import RequestModel, Text
from serve_app.messages import must

ExternalIdField = Annotated[Text, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
ShortText = Annotated[Text, Field(max_length=MAX_NAME_CHARACTERS)]


class CustomerChangesRequest(RequestModel):
    """The fields of a customer that a request can set. Fields that are not given keep their values."""

    NULL_CLEARS = frozenset({"name", "email", "properties", "profiling"})

    name: ShortText | None = None
    """Name of the customer; `null` removes it."""
    email: ShortText | None = None
    """Email address of the customer; `null` removes it."""
    properties: dict[str, Any] | None = None
    """Further properties of the customer, which replace all earlier ones; `null` removes them."""
    profiling: bool | None = None
    """`true` if the customer agrees to be profiled. `false` if the customer refuses: the profile is then
    deleted at once. `null` if neither is known."""

    @field_validator("properties")
    @classmethod
    def _storable(cls, properties: dict[str, Any] | None) -> dict[str, Any] | None:
        size = len(json_bytes(properties))
        if size > MAX_DATA_BYTES:
            raise must(f"have at most {MAX_DATA_BYTES:,} bytes as JSON, and has {size:,}")
        if not _all_text(properties):
            raise must("not have a NUL character or half of a surrogate pair; remove it")
        return properties

    def changes(self) -> dict[str, Any]:
        """Return the given fields with their values."""
        names = ("name", "email", "properties", "profiling")
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class NewCustomerRequest(CustomerChangesRequest):
    """A customer to add, or to change if the customer exists."""

    external_id: ExternalIdField
    """Id of the customer in your events, at most 256 characters."""


def _all_text(value: Any) -> bool:
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, dict):
        return all(is_text(name) and _all_text(one) for name, one in value.items())
    return all(map(_all_text, value)) if isinstance(value, list) else True
