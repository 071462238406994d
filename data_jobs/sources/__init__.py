"""List and read the sources of documents: local files (``local_files``), folders and buckets."""

from data_jobs.sources.source_files import (
    SourceFile,
    SourceTooLarge,
    absolute,
    entry_uri,
    file_name,
    list_sources,
    local_path,
    read_source,
    storage_of,
)

__all__ = [
    "SourceFile",
    "SourceTooLarge",
    "absolute",
    "entry_uri",
    "file_name",
    "list_sources",
    "local_path",
    "read_source",
    "storage_of",
]
