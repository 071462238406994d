"""Uploaded files: the place of their bytes, and their limits."""

from pydantic import Field

from cluster.settings.values import MIB, Concern, FolderOrUrl


class FileSettings(Concern):
    """Uploaded files: the place of their bytes, and their limits."""

    blob_url: FolderOrUrl | None = None
    """Where the bytes of uploaded files are stored: in a folder, or in a bucket as ``s3://``, ``gs://`` or
    ``az://``. Unset: the folder ``blobs`` under ``home``."""

    max_file_bytes: int = Field(default=512 * MIB, ge=1)
    """Maximum size of a file that is uploaded in one request, in bytes. A larger file is refused with 413."""

    max_part_bytes: int = Field(default=64 * MIB, ge=1)
    """Maximum size of one part of an upload in parts, in bytes. The default is the limit of OpenAI's API."""

    max_upload_bytes: int = Field(default=8 * 1024 * MIB, ge=1)
    """Maximum size of a file that is uploaded in parts, in bytes. The default is the limit of OpenAI's
    API.
    """

    upload_lifetime_s: float = Field(default=3600.0, gt=0)
    """Seconds after which an upload in parts expires unless it is completed."""
