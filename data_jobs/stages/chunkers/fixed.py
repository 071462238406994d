"""The fixed chunker makes chunks of equal length that share tokens with their neighbours.

    FixedChunker(tokeniser, fingerprint.id, max_tokens=200, overlap_tokens=50).chunk(document, pages)

This chunker serves OpenAI's ``static`` strategy with an overlap. A chunk ends at the last word that fits. A
table is cut between rows, and code is cut between lines, if at least one row or line fits. So chunks of
tables and of code may be shorter, and neighbouring chunks share whole rows and lines.
"""

from collections.abc import Iterator

import numpy as np

from data_jobs.stages.chunkers.cut_page import Cut, CutPage, last_of
from data_jobs.stages.chunkers.page_chunker import PageChunker


class FixedChunker(PageChunker):
    """Divides documents into chunks of about ``max_tokens`` tokens, and never more. Neighbouring chunks share
    about ``overlap_tokens`` tokens.
    """

    def cuts(self, page: CutPage) -> Iterator[Cut]:
        """See ``PageChunker.cuts``."""
        first = reached = 0
        while reached < page.total:
            context = self.context_at(page, first)
            last = self._end(page, first, self.last_end(page, first, context))
            if last <= reached:  # the shared tokens leave no room for the next row, so share none
                first = reached
                continue
            yield Cut(first, last, context)
            first, reached = self._start(page, first, last), last

    def _end(self, page: CutPage, first: int, most: int) -> int:
        """Return the last place up to ``most`` at which a chunk that begins at ``first`` may end."""
        if most >= page.total:
            return page.total
        words, _ = page.words
        last = last_of(first + 1, most, words) or page.letter(first, most)
        if page.in_lines(last):
            last = last_of(first + 1, last, page.lines) or last_of(first + 1, last, page.block_parts) or last
        return last

    def _start(self, page: CutPage, first: int, last: int) -> int:
        """Return the first token of the next chunk, after a chunk of the tokens ``first`` to ``last - 1``."""
        if not self.overlap or last >= page.total:
            return last
        target = max(first + 1, last - self.overlap)
        words, _ = page.words
        places = page.lines if page.in_lines(target) else words
        at = int(np.searchsorted(places, target))
        return min(last, int(places[at])) if at < len(places) else last
