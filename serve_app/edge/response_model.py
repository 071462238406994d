"""The base class of JSON answers.

The OpenAPI document shows these models, and describes each field with the docstring below the field.

A route turns a record into its model with the model's classmethod ``of``, and returns the model.

    class FileObject(ResponseModel):
        id: str
        expires_at: Omissible[int] = None

        @classmethod
        def of(cls, file: File) -> Self: ...
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from starlette.responses import Response

from cluster.database.paging import ListPage
from cluster.described_model import DescribedModel
from cluster.text.well_formed import json_bytes

T = TypeVar("T")
Record = TypeVar("Record")


def _is_none(value: object) -> bool:
    return value is None


#: A field that an answer leaves out if the value is None, because OpenAI's schema does not allow null there.
Omissible = Annotated[T | None, Field(exclude_if=_is_none)]


class ResponseModel(DescribedModel):
    """A JSON answer, or an object in it.

    Fields are sent in the order in which the class declares them.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema for clients: omissible fields are never null, and more fields are allowed."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema.pop("additionalProperties", None)
        for name, field in schema["properties"].items():
            if name not in schema.get("required", ()):
                field.pop("default", None)
                types = [one for one in field.pop("anyOf") if one != {"type": "null"}]
                field.update(types[0] if len(types) == 1 else {"anyOf": types})
        return schema


class ListObject(ResponseModel, Generic[T]):
    """One page of a list, in OpenAI's form."""

    object: Literal["list"] = Field(default="list", description="Always `list`.")
    data: list[T] = Field(description="The items of this page.")
    first_id: str = Field(description="Id of the first item of this page; empty if the page has no items.")
    last_id: str = Field(
        description="Id of the last item, to send as `after` for the next page;"
        " empty if the page has no items."
    )
    has_more: bool = Field(description="True if more items follow.")

    @classmethod
    def of(cls, page: ListPage[Record], item: Callable[[Record], T], id: Callable[[Record], str]) -> Self:
        """Build the answer for a page. ``item`` and ``id`` return the model and the id of a record."""
        return cls(
            data=[item(record) for record in page.items],
            first_id=id(page.items[0]) if page.items else "",
            last_id=id(page.items[-1]) if page.items else "",
            has_more=page.has_more,
        )


def json_response(answer: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer as a JSON response, without validation. NumPy arrays become lists.

    Routes that must be fast use this function, and routes that send stored answers.
    """
    return Response(json_bytes(answer), headers=headers, media_type="application/json")
