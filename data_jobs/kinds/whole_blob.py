"""Read the blob of a job's file to its end, for jobs that read the rows of the file."""

from typing import BinaryIO

from cluster.blobs import BlobStore

#: Number of bytes that are copied from the blob store in one step.
COPY_BYTES = 1024 * 1024


def read_whole(blobs: BlobStore, organisation: str, sha256: str, copy: BinaryIO | None) -> int:
    """Read the blob to its end, which checks its hash, and return the number of its line ends.

    Args:
        copy: gets the bytes of the blob; None if no copy is needed.
    """
    lines = 0
    with blobs.open(organisation, sha256) as parts:
        while part := parts.read(COPY_BYTES):
            if copy is not None:
                copy.write(part)
            lines += part.count(b"\n")
    if copy is not None:
        copy.flush()
    return lines
