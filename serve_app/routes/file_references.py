"""Define how requests name a file to attach: by the id of an uploaded file, or by a URL that a job fetches.

The routes of attached files and of file batches use ``FileReference``.
"""

from typing import Annotated, Any, Self

from psycopg import Connection
from pydantic import Field, model_validator

from cluster.documents.linked_files import URL_ATTRIBUTE, create_linked_file
from cluster.errors import InvalidInput
from cluster.jobs.kinds.inputs import MAX_URL_CHARACTERS
from cluster.organisations.organisations import StorageLimits
from cluster.outbound import Refused
from cluster.records import MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES
from serve_app.edge.request_model import RequestModel, Text
from serve_app.messages import must
from serve_app.service import Service


class FileReference(RequestModel):
    """A file to attach: an uploaded file, or the content of a URL."""

    file_id: Text | None = None
    """Id of the file to attach."""
    url: Annotated[Text, Field(min_length=1, max_length=MAX_URL_CHARACTERS)] | None = None
    """URL of a page or a document to attach, in place of `file_id`. A job fetches it, and the file gets the
    attribute `url`."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.file_id is None) == (self.url is None):
            raise must("have either file_id or url, and not both; send one of them")
        return self

    def file_in(self, connection: Connection[Any], service: Service, organisation: str) -> str:
        """Return the id of the file. If the request names a URL, create the file for the URL first.

        Raises:
            InvalidInput: the guarded transport does not permit the URL.
            Throttled, Unavailable: see ``create_linked_file``.
        """
        if self.url is None:
            assert self.file_id is not None
            return self.file_id
        try:
            service.outbound.check(self.url)
        except Refused as exc:
            raise InvalidInput(f"url: {exc}", param="url") from exc
        limits = StorageLimits.of(service.settings)
        return create_linked_file(connection, service.blobs, organisation, self.url, default_limits=limits).id


def with_url(attributes: dict[str, Any] | None, url: str | None) -> dict[str, Any] | None:
    """Add the attribute ``url`` to the attributes of a file. Return the attributes without a change if there
    is no URL, if they have a ``url`` already, or if the URL does not fit into the limits of attributes.
    """
    given = attributes or {}
    if (
        url is None
        or URL_ATTRIBUTE in given
        or len(given) >= MAX_ATTRIBUTES
        or len(url) > MAX_ATTRIBUTE_VALUE
    ):
        return attributes
    return {**given, URL_ATTRIBUTE: url}
