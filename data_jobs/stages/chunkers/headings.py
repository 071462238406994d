"""The heading chunker begins a chunk at each heading. The headings above a chunk come before its text.

    HeadingChunker(tokeniser, fingerprint.id).chunk(document, pages).chunks[7].context   # "Guide > Install"

A heading without text of its own stays with the next lower heading. A section that is longer than a chunk is
divided as the content-defined chunker divides a page. A page without headings gives the same chunks as with
the content-defined chunker.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from cluster.records import Page
from data_jobs.stages.chunkers.chunk_places import BETWEEN_HEADINGS, PagePlaces, Path
from data_jobs.stages.chunkers.contract import PreparedChunks
from data_jobs.stages.chunkers.cut_page import NO_CONTEXT, Context, Cut, CutPage
from data_jobs.stages.chunkers.page_chunker import PageChunker


class HeadingChunker(PageChunker):
    """Divides documents at their headings. The context of a chunk has the headings above the chunk."""

    def prepared(self, document: str, pages: Sequence[Page]) -> PreparedChunks:
        """See ``Chunker.prepared``."""
        path: Path = ()
        cut_pages = self.cut_pages(pages)
        for page in cut_pages:
            page.headings = PagePlaces(page.page, path)
            path = page.headings.path_after
        return self.without_vectors(document, cut_pages)

    def cuts(self, page: CutPage) -> Iterator[Cut]:
        """See ``PageChunker.cuts``."""
        for first, total in pairwise([0, *page.section_starts.tolist(), page.total]):
            yield from self.packed(page, first, total)

    def context_at(self, page: CutPage, first: int) -> Context:
        """Return the headings above the token, and the header of its table. If both together are too long,
        leave out the highest headings first, because a row needs the header of its table more.
        """
        header = page.header_at(first)
        path = page.headings.above(int(page.places.begin[first])) if page.headings else ()
        texts = [text for _, text in path]
        while texts:
            context = self.context_of(page, "\n".join(filter(None, [BETWEEN_HEADINGS.join(texts), header])))
            if context != NO_CONTEXT:
                return context
            texts = texts[1:]
        return self.context_of(page, header)
