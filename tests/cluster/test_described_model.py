"""Docstrings below fields describe them in JSON schemas."""

from typing import Annotated

from pydantic import Field

from cluster.described_model import DescribedModel


class Heron(DescribedModel):
    """A bird."""

    name: str
    """Name of the
    bird.
    """
    age: Annotated[int, Field(ge=0)] = 1
    legs: int = Field(default=2, description="Number of legs.")
    """This docstring is not used."""


class GreyHeron(Heron):
    """A bird with a colour."""

    shade: str = Field(default="grey", max_length=9)
    """Its colour."""


def test_a_docstring_describes_its_field_and_changes_nothing_else() -> None:
    fields = GreyHeron.model_json_schema()["properties"]

    assert fields == {
        "name": {"type": "string", "title": "Name", "description": "Name of the\nbird."},
        "age": {"type": "integer", "title": "Age", "minimum": 0, "default": 1},
        "legs": {"type": "integer", "title": "Legs", "default": 2, "description": "Number of legs."},
        "shade": {
            "type": "string",
            "title": "Shade",
            "default": "grey",
            "maxLength": 9,
            "description": "Its colour.",
        },
    }
