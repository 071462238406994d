"""Tests whether a text can be stored: Postgres refuses NUL, and UTF-8 cannot encode half of a surrogate pair.

is_text("a\\ud800")             # False
"""


def is_text(value: str) -> bool:
    """Return True if the text has no NUL character and no half of a surrogate pair.

    JSON can contain half of a surrogate pair, but UTF-8 cannot.
    """
    return "\0" not in value and value == value.encode(errors="ignore").decode()
