"""Define the rows of the table of formats for files that contain other files."""

from cluster.formats.format import DOCUMENT_PURPOSES, Format, matches, starts_with

#: Module that reads the entries of TAR archives, with or without compression, and of compressed single files.
TAR_READER = "data_jobs.stages.containers.tar_archive"

#: Suffixes of files that usually are containers. The bytes decide what a file is, not its name.
CONTAINER_SUFFIXES = frozenset({"zip", "tar", "tgz", "gz", "tbz2", "bz2", "txz", "xz", "mbox", "eml"})

CONTAINERS = (
    Format(
        name="ZIP",
        media_type="application/zip",
        recognises=starts_with(b"PK\x03\x04", b"PK\x05\x06"),  # the second mark begins an empty archive
        purposes=DOCUMENT_PURPOSES,
        entries="data_jobs.stages.containers.zip_archive",
    ),
    Format(
        name="gzip",
        media_type="application/gzip",
        recognises=starts_with(b"\x1f\x8b"),
        purposes=DOCUMENT_PURPOSES,
        entries=TAR_READER,
    ),
    Format(
        name="bzip2",
        media_type="application/x-bzip2",
        recognises=matches(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
        purposes=DOCUMENT_PURPOSES,
        entries=TAR_READER,
    ),
    Format(
        name="xz",
        media_type="application/x-xz",
        recognises=starts_with(b"\xfd7zXZ\x00"),
        purposes=DOCUMENT_PURPOSES,
        entries=TAR_READER,
    ),
    Format(name="ar", media_type="application/x-archive", recognises=starts_with(b"!<arch>\n")),
    Format(
        name="tar",
        media_type="application/x-tar",
        recognises=matches(rb".{257}ustar[\x00 ]"),
        purposes=DOCUMENT_PURPOSES,
        entries=TAR_READER,
    ),
)
