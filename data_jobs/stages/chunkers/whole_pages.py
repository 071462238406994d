"""The chunker of the strategy ``none`` makes one chunk of each page, if the model can read the whole page.

    WholePageChunker(tokeniser, fingerprint.id).chunk(document, pages)

A longer page is cut as rarely as possible. Each chunk ends with the last whole sentence that the model can
read.
"""

from collections.abc import Iterator

from data_jobs.stages.chunkers.cut_page import Cut, CutPage
from data_jobs.stages.chunkers.page_chunker import PageChunker


class WholePageChunker(PageChunker):
    """Makes one chunk of each page. Divides only the pages that are longer than the model's limit."""

    def cuts(self, page: CutPage) -> Iterator[Cut]:
        """See ``PageChunker.cuts``."""
        first = 0
        while first < page.total:
            context = self.context_at(page, first)
            most = self.last_end(page, first, context)
            last = page.total
            if most < page.total:
                last = page.last_place(first, first + self.least, most)
            yield Cut(first, last, context)
            first = last
