"""Tokenise the pages of a document, cut each page, and make chunks from the cuts. All chunkers extend
``PageChunker``.

    class HeadingChunker(PageChunker):
        def cuts(self, page): ...          # yields a Cut for each chunk of the page

A chunk of the body of a table gets the header of the table as its context. A subclass may add more context.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from cluster.engines import Tokeniser
from cluster.errors import InvalidInput
from cluster.records import Page, PageChunk, chunk_id, with_context
from data_jobs.stages.chunkers.contract import ChunkedDocument, PreparedChunks
from data_jobs.stages.chunkers.cut_page import NO_CONTEXT, Context, Cut, CutPage, best, last_of
from data_jobs.stages.chunkers.token_places import has_blanks, tokenise

#: Minimum length of a chunk, as a share of the token limit. With a smaller share, fewer chunks would change
#: after an edit, but chunks would be smaller.
LEAST_FILL = 0.3
#: Maximum number of characters of a chunk, per token of the token limit. Prose has fewer characters per
#: token, so this limit only cuts white space and signs without tokens.
CHARACTERS_PER_TOKEN = 32
#: Minimum and maximum of the character limit. The index stores at most 65,536 characters of a chunk.
LEAST_CHARACTERS, MOST_CHARACTERS = 16_384, 65_536
#: Maximum length of a context, as a share of the token limit. A longer header is left out.
MOST_CONTEXT = 0.5


class PageChunker:
    """Divides documents into chunks. Safe to call from several threads.

    ``cuts`` of this class packs whole sentences, rows and lines. The content of a sentence decides whether
    the sentence begins a chunk (docs/decisions/004-content-defined-chunks.md).

    Args:
        tokeniser: the tokeniser of the model.
        fingerprint_id: id of the model's fingerprint.
        max_tokens: see ``contract.OpenChunker``.
        overlap_tokens: see ``contract.OpenChunker``.
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        fingerprint_id: str,
        *,
        max_tokens: int | None = None,
        overlap_tokens: int = 0,
    ) -> None:
        self.tokeniser = tokeniser
        self._fingerprint_id = fingerprint_id
        #: Maximum number of tokens of a chunk, with its context.
        self.most = min(max_tokens or tokeniser.max_content_tokens, tokeniser.max_content_tokens)
        if self.most < 1:
            raise InvalidInput(f"max_tokens is {max_tokens}; a chunk needs at least one token")
        self.overlap = min(overlap_tokens, self.most // 2)
        self.least = max(1, int(self.most * LEAST_FILL))
        self._has_blanks = has_blanks(tokeniser)
        #: Maximum number of characters of a chunk.
        self.most_characters = min(MOST_CHARACTERS, max(LEAST_CHARACTERS, CHARACTERS_PER_TOKEN * self.most))

    def chunk(self, document: str, pages: Sequence[Page]) -> ChunkedDocument:
        """Return the chunks of a document in reading order, which hold every token and visible character.

        A page without a token has no chunk. If more than 1,024 characters in a row have no token, the
        characters in the middle are in no chunk. A letter and its marks stay together, unless this one letter
        exceeds a limit.

        This method is for chunkers that need no vectors.

        Args:
            document: id of the document.
            pages: the pages of the document in order.
        """
        return self.prepared(document, pages).finish(np.empty((0, 0), dtype=np.float32))

    def prepared(self, document: str, pages: Sequence[Page]) -> PreparedChunks:
        """See ``Chunker.prepared``."""
        return self.without_vectors(document, self.cut_pages(pages))

    def without_vectors(self, document: str, pages: Sequence[CutPage]) -> PreparedChunks:
        """Prepare the chunks of ``cuts``, which needs no vectors."""
        return PreparedChunks(
            inputs=[],
            finish=lambda _: self.assembled(document, pages, [list(self.cuts(page)) for page in pages]),
        )

    def cuts(self, page: CutPage) -> Iterator[Cut]:
        """Yield the cuts of a page in order."""
        return self.packed(page, 0, page.total)

    def cut_pages(self, pages: Sequence[Page]) -> list[CutPage]:
        """Tokenise the pages."""
        tokens = tokenise(self.tokeniser, [page.text for page in pages], blanks=self._has_blanks)
        return [CutPage(page, found) for page, found in zip(pages, tokens, strict=True)]

    def packed(self, page: CutPage, first: int, total: int) -> Iterator[Cut]:
        """Yield cuts that pack whole sentences, rows and lines of the tokens ``first`` to ``total - 1``.

        Of the places from ``least`` to ``most`` tokens, the place with the highest priority begins the next
        chunk.
        """
        while first < total:
            context = self.context_at(page, first)
            most = self.last_end(page, first, context)
            if most >= total:
                yield Cut(first, total, context)
                return
            last = (
                best(first + self.least, most, page.sentences)
                # A row or a line that does not fit begins the next chunk.
                or last_of(first + 1, most, page.lines)
                or last_of(first + 1, most, page.block_parts)
                # A table or a listing without structure has no sentences. So cut before a word or, if one
                # word fills the whole chunk, before any letter.
                or best(first + self.least, most, page.words)
                or best(first + 1, most, page.words)
                or page.letter(first, most)
            )
            yield Cut(first, last, context)
            first = last

    def last_end(self, page: CutPage, first: int, context: Context) -> int:
        """Return the number of the last token before which a chunk with this context may end."""
        return page.last_end(
            first,
            most=self.most - len(context.ids),
            most_characters=self.most_characters - len(context.text) - bool(context.text),
        )

    def context_at(self, page: CutPage, first: int) -> Context:
        """Return the context of a chunk with this first token. In the body of a table, the context is the
        header of the table.
        """
        return self.context_of(page, page.header_at(first))

    def context_of(self, page: CutPage, text: str) -> Context:
        """Return the text as a context; ``NO_CONTEXT`` if the text is empty or too long."""
        if text not in page.contexts:
            page.contexts[text] = self._context(text)
        return page.contexts[text]

    def _context(self, text: str) -> Context:
        if not text or len(text) > self.most_characters * MOST_CONTEXT:
            return NO_CONTEXT
        (tokens,) = tokenise(self.tokeniser, [f"{text}\n"], blanks=self._has_blanks)
        fits = len(tokens.ids) <= self.most * MOST_CONTEXT
        return Context(text, tuple(tokens.ids.tolist())) if fits else NO_CONTEXT

    def assembled(
        self, document: str, pages: Sequence[CutPage], cuts: Sequence[Sequence[Cut]]
    ) -> ChunkedDocument:
        """Make the chunks of a document from the cuts of its pages."""
        chunks: list[PageChunk] = []
        seen: Counter[str] = Counter()
        unknown_tokens = unknown_characters = characters = 0
        for page, cuts_of_page in zip(pages, cuts, strict=True):
            unknown = page.tokens.ids == self.tokeniser.unknown_id
            unknown_tokens += int(unknown.sum())
            offsets = page.tokens.offsets[unknown]
            unknown_characters += page.places.tokenless + int((offsets[:, 1] - offsets[:, 0]).sum())
            characters += page.places.characters
            for cut in cuts_of_page:
                chunk = self._chunk(document, page, cut, len(chunks), seen)
                chunks.append(chunk)
                seen[chunk.indexed_text] += 1
        return ChunkedDocument(
            chunks=chunks,
            unknown_tokens=unknown_tokens,
            # The count may include white space inside a word (ASCII separators), but ``characters`` does not.
            unknown_characters=min(unknown_characters, characters),
            characters=characters,
        )

    def _chunk(self, document: str, page: CutPage, cut: Cut, ordinal: int, seen: Counter[str]) -> PageChunk:
        start, end = int(page.places.begin[cut.first]), int(page.places.end[cut.last])
        text = page.page.text[start:end]
        indexed = with_context(cut.context.text, text)
        return PageChunk(
            id=chunk_id(document, indexed, seen[indexed], self._fingerprint_id),
            ordinal=ordinal,
            page=page.page.number,
            start=start,
            end=end,
            text=text,
            context=cut.context.text,
            token_ids=(*cut.context.ids, *page.tokens.ids[cut.first : cut.last].tolist()),
        )
