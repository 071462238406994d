"""Define the rows of the table of formats for pictures. Optical character recognition reads the pictures
whose format has a parser.
"""

from collections.abc import Callable

from cluster.file_beginning import FileBeginning
from cluster.formats.format import DOCUMENT_PURPOSES, Format, Purpose, matches, starts_with

#: Purposes of a picture that Pillow reads. Such a picture can be a document, or can be sent to a model that
#: sees pictures.
PICTURE_PURPOSES: tuple[Purpose, ...] = (*DOCUMENT_PURPOSES, "vision")


def _picture(
    name: str, media_type: str, recognises: Callable[[FileBeginning], bool], *, page: str = "the picture"
) -> Format:
    """Return the row of a format of pictures that Pillow reads."""
    return Format(
        name=name,
        media_type=media_type,
        recognises=recognises,
        purposes=PICTURE_PURPOSES,
        parser="data_jobs.stages.formats.ocr.picture_parser",
        libraries=("pillow",),
        licence="MIT-CMU",
        page=page,
        parsed_in_parts=True,
        recognisable=True,
    )


PICTURES = (
    _picture("PNG", "image/png", starts_with(b"\x89PNG\r\n\x1a\n")),
    _picture("JPEG", "image/jpeg", starts_with(b"\xff\xd8\xff")),
    _picture(
        "TIFF",
        "image/tiff",
        matches(rb"(?:II\*\x00|MM\x00\*|II\+\x00|MM\x00\+)"),
        page="a picture; a TIFF may hold several",
    ),
    _picture("WebP", "image/webp", matches(rb"RIFF.{4}WEBPVP8[ LX]")),
    Format(
        name="GIF",
        media_type="image/gif",
        recognises=matches(rb"GIF8[79]a(?:$|.{0,6}[\x00-\x08\x0e-\x1f\x80-\xff])"),
        purposes=("vision",),
    ),
)
