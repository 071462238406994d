"""Refuse files of a format that their purpose cannot use: they would be accepted only to fail later.

accepted_type(b"%PDF-1.7 ...", name="manual.pdf", purpose="assistants")    # "application/pdf"
"""

from http import HTTPStatus

from starlette.exceptions import HTTPException

from cluster.formats import FORMATS, recognise


def accepted_type(start: bytes, *, name: str, purpose: str) -> str:
    """The media type found in the first bytes of a file.

    Raises:
        HTTPException: 415, the purpose does not accept files of this format.
    """
    found = recognise(start, name=name, purpose=purpose)
    if purpose not in found.purposes:
        accepted = sorted(row.media_type for row in FORMATS if purpose in row.purposes)
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name!r} is {found.media_type} by its bytes; files for {purpose!r} are {', '.join(accepted)}",
        )
    return found.media_type
