"""Uploaded files: where their bytes are kept, and how large they may be."""

from pydantic import Field

from cluster.settings.values import MIB, Concern, FolderOrUrl


class FileSettings(Concern):
    """Uploaded files: where their bytes are kept, and how large they may be."""

    blob_url: FolderOrUrl | None = None
    """Where the bytes of uploaded files are kept: a folder, or ``s3://``, ``gs://``, ``az://``. Unset: ``blobs`` under ``home``."""

    max_file_bytes: int = Field(default=512 * MIB, ge=1)
    """Longer files are refused with 413."""

    max_part_bytes: int = Field(default=64 * MIB, ge=1)
    """Longest part of an upload in parts."""

    max_upload_bytes: int = Field(default=8 * 1024 * MIB, ge=1)
    """Longest file that may be uploaded in parts."""

    upload_lifetime_s: float = Field(default=3600.0, gt=0)
    """An upload in parts that is not completed within this expires."""
