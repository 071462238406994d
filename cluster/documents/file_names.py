"""Names of files, made safe to store and to show.

``plain_name`` is for names that a client sends; it refuses names that cannot be repaired. ``shown_name`` is
for names found in a folder or a bucket; it accepts every name.

    plain_name("C:\\\\photos\\\\Screenshot 9.41.07\\u202fAM.png")    # "Screenshot 9.41.07\\u202fAM.png"
"""

import re
import unicodedata

from cluster.errors import InvalidInput

#: Maximum length of a name in characters.
LONGEST_NAME = 255
REPLACEMENT = "\ufffd"
#: White space that would begin a new line or column when the name is displayed.
BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
#: Control characters: C0, DEL and C1.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
#: Surrogates. UTF-8 has none, but JSON can contain them, and Python decodes invalid UTF-8 bytes to them.
SURROGATE = re.compile("[\ud800-\udfff]")
#: Embeddings, overrides and isolates (UAX #9, section 2). They make "gpj.exe" look like "exe.jpg" and have no
#: text of their own. The marks U+200E, U+200F and U+061C are kept because Hebrew and Arabic names need them
#: and because these marks do not reverse any text.
DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain_name(name: str, *, param: str = "file") -> str:
    """Return the last part of a name that may be a path, made safe.

    A line break or tab becomes a space, and a surrogate becomes U+FFFD. Characters that change the direction
    of text are removed. White space at both ends is removed too.

    Args:
        param: name of the request's field, for the error.

    Raises:
        InvalidInput: the name has no visible character, control characters, or more than 255 characters.
    """
    last = _repaired(name.replace("\\", "/").rpartition("/")[2])
    control = CONTROL.search(last)
    if control:
        raise InvalidInput(
            f"the file's name holds the control character U+{ord(control[0]):04X}; remove it", param=param
        )
    if last in {".", ".."} or not any(map(_visible, last)):
        raise InvalidInput(
            f"{name[:LONGEST_NAME]!r} is not a name for a file; send one with visible characters", param=param
        )
    if len(last) > LONGEST_NAME:
        raise InvalidInput(
            f"the file's name has {len(last):,} characters; it may have {LONGEST_NAME}", param=param
        )
    return last


def shown_name(name: str) -> str:
    """Return any name, made safe to show; control characters become U+FFFD. Not for use as a path."""
    return CONTROL.sub(REPLACEMENT, _repaired(name))


def _repaired(name: str) -> str:
    return SURROGATE.sub(REPLACEMENT, DIRECTION.sub("", BREAKS.sub(" ", name))).strip()


def _visible(character: str) -> bool:
    """Return False for white space and format characters. Unassigned characters count as visible because they
    may be new emoji.
    """
    return not character.isspace() and unicodedata.category(character) != "Cf"
