"""Make, recognise and hash the text of an API key.

A key is ``ec-PREFIX-SECRET`` with a checksum at its end. The secret has 256 random bits, so SHA-256 without
salt protects it. The checksum shows, without a look-up, that a text is not a key of this project.

    text = new_key_text()
    prefix_of(text), hash_of(text.encode())          # both are stored; the text is never stored
"""

import re
import secrets
import string
from hashlib import sha256
from zlib import crc32

PREFIX_CHARACTERS = 8
SECRET_BYTES = 32
LETTERS = string.ascii_letters + string.digits
#: Pattern of a key. The 32 bytes of the secret are 43 characters in URL-safe base64. The last 8 characters
#: are the checksum, in hexadecimal.
KEY = re.compile(rb"(ec-[A-Za-z0-9]{8}-[A-Za-z0-9_-]{43})([0-9a-f]{8})")


def new_key_text() -> str:
    """Return a new random key."""
    prefix = "".join(secrets.choice(LETTERS) for _ in range(PREFIX_CHARACTERS))
    body = f"ec-{prefix}-{secrets.token_urlsafe(SECRET_BYTES)}"
    return f"{body}{crc32(body.encode()):08x}"


def prefix_of(text: str) -> str:
    """Return the beginning of the key, which is not secret. People recognise the key by its beginning."""
    return text[: len("ec-") + PREFIX_CHARACTERS]


def hash_of(key: bytes) -> bytes:
    """Return the SHA-256 of the key."""
    return sha256(key).digest()


def may_be_a_key(key: bytes) -> bool:
    """Return True if the text has the form of a key and the right checksum."""
    match = KEY.fullmatch(key)
    return match is not None and crc32(match[1]) == int(match[2], 16)
