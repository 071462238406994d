"""Make the file that a vector store keeps of a fetched page, and find blocks that a website repeats.

    digests = block_digests(page)
    stored_page(page, without=repeated)      # b'<!DOCTYPE html>\\n<html lang="en">...'

The file changes only if the main content changes, so a new menu costs no embedding.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from html import escape, unescape

from cluster.records import digest
from data_jobs.stages.formats.web.web_page import WebPage

#: A block is repeated if it is on more than this share of a website's pages. Pages of documentation often
#: have equal headings ("Options"), so a heading is repeated only if nearly all pages have it.
REPEATED_SHARE, REPEATED_HEADING_SHARE = 0.3, 0.9
#: First character of the digest of a heading, and of other blocks.
HEADING, OTHER = "h", "b"
#: Minimum number of pages of a website from which repeated blocks are left out, because few pages repeat a
#: block by chance.
MIN_PAGES = 10
TAG = re.compile(r"<[^>]*>")
WORD = re.compile(r"\w+")
IS_HEADING = re.compile("<h[1-6]>")


def block_digests(page: WebPage) -> list[str]:
    """Return a digest of the words of each block of the page, in the same order."""
    return [_digest(block) for block in page.blocks]


def repeated_blocks(digests_of_pages: Iterable[Collection[str]]) -> set[str]:
    """Return the digests of the blocks that a website repeats.

    Args:
        digests_of_pages: the digests of each page of the website.
    """
    pages, counts = 0, Counter[str]()
    for digests in digests_of_pages:
        pages += 1
        counts.update(set(digests))
    return {block for block, number in counts.items() if is_repeated(block, number, pages)}


def is_repeated(block: str, number: int, pages: int) -> bool:
    """Return True if the website repeats the block with this digest.

    Args:
        block: the digest of the block.
        number: number of pages that have the block.
        pages: number of pages of the website.
    """
    share = REPEATED_HEADING_SHARE if block.startswith(HEADING) else REPEATED_SHARE
    return pages >= MIN_PAGES and number > share * pages


def stored_page(page: WebPage, *, without: Collection[str] = frozenset()) -> bytes:
    """Return the main content of the page as a document in HTML, UTF-8.

    Args:
        page: the page.
        without: digests of blocks to leave out. If no other block is left, the page keeps all its blocks.
    """
    kept = [block for block in page.blocks if _digest(block) not in without] or list(page.blocks)
    language = f' lang="{escape(page.language)}"' if page.language else ""
    return (
        f'<!DOCTYPE html>\n<html{language}>\n<meta charset="utf-8">\n' + "\n".join(kept) + "\n</html>\n"
    ).encode()


def _digest(block: str) -> str:
    words = " ".join(WORD.findall(unescape(TAG.sub(" ", block)).lower()))
    kind = HEADING if IS_HEADING.match(block) else OTHER
    return kind + digest("block of a web page", words, size=8)
