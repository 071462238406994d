"""The limits on the entries of a container, from the settings.

entry_limits(settings).entries      # CLUSTER_MAX_CONTAINER_ENTRIES
"""

from dataclasses import astuple

from cluster.formats import READABLE, UNPACKABLE
from cluster.records import digest
from cluster.settings import Settings
from data_jobs.stages.containers.contract import EntryLimits

#: Raise this number if the readers find other entries in the same bytes.
READERS_VERSION = 1


def entry_limits(settings: Settings) -> EntryLimits:
    """Return the limits on the entries of one container."""
    return EntryLimits(
        entries=settings.max_container_entries,
        bytes=settings.max_container_bytes,
        entry_bytes=settings.max_document_bytes,
        ratio=settings.max_container_ratio,
        depth=settings.max_container_depth,
    )


def unpacking_version(settings: Settings) -> str:
    """Return the version of the code, the limits and the formats that decide which entries are found. A
    container is unpacked again if this version has changed.
    """
    formats = [row.media_type for row in (*READABLE, *UNPACKABLE)]
    return digest(str(READERS_VERSION), *map(str, astuple(entry_limits(settings))), *formats)
