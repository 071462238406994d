"""Define what the endpoint and the drawing process send to each other.

The endpoint writes a ``DrawRequest`` as one line of JSON and then the bytes of the document. The process
writes the picture (PNG) and ends with code 0, or it ends with one of the codes below.
"""

from dataclasses import dataclass

#: Exit codes of the drawing process: the document has no such page, or it is damaged or has a password.
EXIT_NO_PAGE, EXIT_UNREADABLE = 3, 4
#: Maximum width and height of a picture, in pixels, and maximum resolution, in dots per inch.
MAX_WIDTH, MAX_HEIGHT, MAX_DPI = 1_200, 2_400, 144
#: Maximum number of characters of the page's text, and of the passage, that are compared.
MAX_PAGE_CHARACTERS, MAX_PASSAGE_CHARACTERS = 100_000, 20_000


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    """One page to draw."""

    #: Number of the page, counted from 1.
    page: int
    #: The text to highlight; "" highlights nothing.
    passage: str
    #: Limits of the process: its address space in bytes, and its processor time in seconds.
    memory_bytes: int
    cpu_s: int
