"""The rows of files that contain other files."""

from cluster.formats.format import DOCUMENT_PURPOSES, Format, matches, starts_with

CONTAINERS = (
    Format(
        name="ZIP",
        media_type="application/zip",
        recognises=starts_with(b"PK\x03\x04", b"PK\x05\x06"),  # the second mark begins an empty archive
        purposes=DOCUMENT_PURPOSES,
        entries="data_jobs.stages.containers.zip_archive",
    ),
    Format(name="gzip", media_type="application/gzip", recognises=starts_with(b"\x1f\x8b")),
    Format(name="ar", media_type="application/x-archive", recognises=starts_with(b"!<arch>\n")),
    Format(name="tar", media_type="application/x-tar", recognises=matches(rb".{257}ustar[\x00 ]")),
)
