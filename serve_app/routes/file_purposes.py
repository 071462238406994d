"""Which files are taken for which purpose, by their bytes: any other would be accepted only to fail later.

accepted_type(b"%PDF-1.7 ...", name="manual.pdf", purpose="assistants")    # "application/pdf"
"""

from http import HTTPStatus
from typing import Literal, get_args

from starlette.exceptions import HTTPException

from cluster.media_type import GIF, HTML, JPEG, MARKDOWN, PDF, PLAIN, PNG, WEBP, media_type

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

JSON_LINES = "application/jsonl"
DOCUMENTS = frozenset({PDF, HTML, MARKDOWN, PLAIN})
ACCEPTED: dict[str, frozenset[str]] = {
    "assistants": DOCUMENTS,
    "user_data": DOCUMENTS,
    "batch": frozenset({JSON_LINES}),
    "fine-tune": frozenset({JSON_LINES}),
    "evals": frozenset({JSON_LINES}),
    "vision": frozenset({PNG, JPEG, GIF, WEBP}),
}
BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"


def accepted_type(start: bytes, *, name: str, purpose: str) -> str:
    """The media type found in the file's first bytes, if files for this purpose may have it.

    Raises:
        HTTPException: 415, they may not.
    """
    type = media_type(start, name=name)
    accepted = ACCEPTED[purpose]
    if JSON_LINES in accepted and type == PLAIN and start.lstrip(BEFORE_JSON).startswith(b"{"):
        type = JSON_LINES
    if type not in accepted:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name!r} is {type} by its bytes; files for {purpose!r} are {', '.join(sorted(accepted))}",
        )
    return type
