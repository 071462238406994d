"""Convert ids of chunks into ids that Pinecone accepts, and back.

Pinecone accepts only ASCII in ids, and its fetch requests accept no spaces. Ids that this project makes stay
unchanged. Ids of given vectors can have any characters, so characters that Pinecone refuses are
percent-encoded.

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
    """Convert the id of a chunk into an id on Pinecone. The result can be longer than ``LONGEST``."""
    return quote(chunk, safe=PLAIN)


def chunk_id(stored: str) -> str:
    """Convert an id on Pinecone back into the id of the chunk."""
    return unquote(stored)
