"""Write any id of a chunk as an id that Pinecone accepts.

Pinecone accepts ASCII, and no spaces where ids are fetched. The ids that this project makes are unchanged;
ids that came with given vectors can hold any text, and such characters are percent-encoded.

    pinecone_id("chk_1f")          # "chk_1f"
    pinecone_id("Ä 1")             # "%C3%84%201"
    chunk_id("%C3%84%201")         # "Ä 1"
"""

from urllib.parse import quote, unquote

#: Maximum length of an id on Pinecone.
LONGEST = 512
#: Characters that an id on Pinecone keeps as they are, besides letters and digits.
PLAIN = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def pinecone_id(chunk: str) -> str:
    """Return the id on Pinecone of a chunk. It can be longer than ``LONGEST``."""
    return quote(chunk, safe=PLAIN)


def chunk_id(stored: str) -> str:
    """Return the id of the chunk whose id on Pinecone this is."""
    return unquote(stored)
