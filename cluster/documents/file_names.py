"""Make names of files safe to store and to show.

``plain_name`` takes a name that a client sends, and refuses a name that cannot be repaired. ``shown_name``
takes any name, such as a name that was found in a folder or a bucket.

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
#: Surrogates. UTF-8 text has no surrogates, but JSON can contain surrogates, and Python decodes invalid UTF-8
#: bytes to surrogates.
SURROGATE = re.compile("[\ud800-\udfff]")
#: Embeddings, overrides and isolates (UAX #9, section 2). These characters are invisible, but they change the
#: direction of text, so they make "gpj.exe" look like "exe.jpg". The marks U+200E, U+200F and U+061C are kept
#: because Hebrew and Arabic names need them and because these marks do not reverse any text.
DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain_name(name: str, *, param: str = "file") -> str:
    """Return the last part of a name that may be a path, and make this part safe to store and to show.

    A run of line breaks and tabs becomes one space, and a surrogate becomes U+FFFD. Characters that change
    the direction of text are removed. White space at both ends is removed too.

    Args:
        param: name of the request's field, for the error.

    Raises:
        InvalidInput: the name has no visible character, is ``.`` or ``..``, contains a control character, or
            has more than 255 characters.
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
    """Return the name in a form that is safe to show, in which control characters are U+FFFD. The result must
    not be used as a path.
    """
    return CONTROL.sub(REPLACEMENT, _repaired(name))


def _repaired(name: str) -> str:
    return SURROGATE.sub(REPLACEMENT, DIRECTION.sub("", BREAKS.sub(" ", name))).strip()


def _visible(character: str) -> bool:
    """Return False for white space and format characters. Unassigned characters count as visible because they
    may be new emoji.
    """
    return not character.isspace() and unicodedata.category(character) != "Cf"
