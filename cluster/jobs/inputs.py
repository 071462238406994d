"""The inputs of the kinds of jobs that anybody may submit with ``POST /v1/jobs``.

``kinds`` names one of these models for each public kind. The route validates a request's ``input`` with it,
and ``GET /v1/jobs/kinds`` publishes its JSON schema.

    IndexFileInput.model_validate({"vector_store_id": "vs_1", "file_id": "file-1"})
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class JobInput(BaseModel):
    """The input of a job. Types are strict, and ``null`` means that a field is not given."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: value for name, value in given.items() if value is not None}
        return given


class IndexFileInput(JobInput):
    """Attaches a file to a vector store, and makes the file's text searchable there."""

    vector_store_id: str
    """Id of the vector store."""
    file_id: str
    """Id of the file."""
