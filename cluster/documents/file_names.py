"""The name a file is kept and shown under, whatever name it came with.

``plain_name`` is for names that a caller sends, and refuses what cannot be mended; ``shown_name`` is for files that were found in a
folder or a bucket, and refuses none.

    plain_name("C:\\\\photos\\\\Screenshot 9.41.07\\u202fAM.png")    # "Screenshot 9.41.07\\u202fAM.png"
"""

import re
import unicodedata

from cluster.errors import InvalidInput

LONGEST_NAME = 255
REPLACEMENT = "\ufffd"
#: Each would begin a new line or a column where the name is shown.
BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
#: C0, DEL and C1.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
#: UTF-8 has no bytes for one: JSON can spell it, and Python writes a byte that is not UTF-8 as one.
SURROGATE = re.compile("[\ud800-\udfff]")
#: Embeddings, overrides and isolates (UAX #9, section 2) make "gpj.exe" look like "exe.jpg", and hold no text. The marks U+200E, U+200F
#: and U+061C stay: Hebrew and Arabic names need them, and they reverse nothing.
DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain_name(name: str, *, param: str = "file") -> str:
    """The last part of what may be a path, with every character that can be kept.

    A line break or tab becomes a space, half of a surrogate pair U+FFFD; characters that change the direction of the text around
    them are left out, and white space at either end.

    Args:
        param: the field that holds the name, for the error.

    Raises:
        InvalidInput: nothing is left that could be seen, the name has more than 255 characters, or it holds control characters.
    """
    last = _mended(name.replace("\\", "/").rpartition("/")[2])
    control = CONTROL.search(last)
    if control:
        raise InvalidInput(
            f"the file's name holds the control character U+{ord(control[0]):04X}; leave it out", param=param
        )
    if last in {".", ".."} or not any(map(_visible, last)):
        raise InvalidInput(f"the file needs a name, and {name[:LONGEST_NAME]!r} is none", param=param)
    if len(last) > LONGEST_NAME:
        raise InvalidInput(
            f"the file's name has {len(last):,} characters, and {LONGEST_NAME} are the most", param=param
        )
    return last


def shown_name(name: str) -> str:
    """The name as it can be stored and shown; control characters become U+FFFD. Never refused, and never a path."""
    return CONTROL.sub(REPLACEMENT, _mended(name))


def _mended(name: str) -> str:
    return SURROGATE.sub(REPLACEMENT, DIRECTION.sub("", BREAKS.sub(" ", name))).strip()


def _visible(character: str) -> bool:
    """False for white space and for what only acts on its neighbours. What Python's table does not know yet may be an emoji."""
    return not character.isspace() and unicodedata.category(character) != "Cf"
