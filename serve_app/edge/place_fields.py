"""Define the fields of answers that describe, in addition to the page, the place of a chunk in its document.

    class SearchResult(PlaceFields): ...
    SearchResult(**place_values(chunk.place), file_id=chunk.file, ...)

``cluster.page_structure.ChunkPlace`` describes the values. Filters can test the values by the same names.
"""

from dataclasses import asdict
from typing import Any

from cluster.page_structure import ChunkPlace
from serve_app.edge.response_model import Omissible, ResponseModel


class PlaceFields(ResponseModel):
    """The place of a chunk. A field that says nothing about the chunk is left out."""

    heading: Omissible[str] = None
    """The headings of the section in which the chunk begins, such as `Guide > Install > Linux`."""
    label: Omissible[str] = None
    """Name of the page, such as the name of a sheet or of a slide."""
    cells: Omissible[str] = None
    """The cells of a sheet that the chunk contains, such as `A2:F9`."""
    rows: Omissible[str] = None
    """The rows of a table that the chunk contains, such as `12-15`, if the table is not in a sheet."""


def place_values(place: ChunkPlace) -> dict[str, Any]:
    """Return the values of the fields of ``PlaceFields``; None for a field that does not apply."""
    return {name: value or None for name, value in asdict(place).items()}
