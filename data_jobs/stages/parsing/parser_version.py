"""The version of the parsers. Documents are parsed again if it changes.

parser_version("pymupdf")      # "3/text/plain-1/PyMuPDF-1.26.5"
"""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from cluster.errors import Misconfigured
from cluster.formats import Format, readable


def version_of(formats: Iterable[Format]) -> str:
    """Return the version of the parsers of these formats.

    The version changes if a format is added, because documents of the new format were refused before. The
    version also changes if the version of a parser or of a library of a parser changes, because the same
    bytes may then give other pages.
    """
    versions = ["3"]  # change this number only if all documents must be parsed again
    for row in formats:
        libraries = [f"{library}-{_version(library)}" for library in row.libraries]
        new = [library for library in libraries if library not in versions]
        versions += new
        if row.parser_version > 1 or not new:
            versions.append(f"{row.media_type}-{row.parser_version}")
    return "/".join(versions)


@cache
def parser_version(pdf_parser: str) -> str:
    """Return the version of the parsers of all readable formats; ``pdf_parser`` is the setting.

    Raises:
        Misconfigured: the library that reads PDF is not installed.
    """
    return version_of(readable(pdf_parser))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError as exc:
        raise Misconfigured(
            f"the package {library} is not installed, and a parser needs it: run pip install {library}, or "
            "choose another library for PDF with CLUSTER_PDF_PARSER"
        ) from exc
