"""The content-defined chunker makes chunks that consist of whole sentences. An edit changes only the chunks
near the edit.

    chunks = ContentDefinedChunker(tokeniser, fingerprint.id).chunk(document, pages).chunks
    chunks[0].text == pages[0].text[chunks[0].start : chunks[0].end]

A chunk never spans two pages, so a citation can name the page. The content of a sentence, not its position on
the page, decides whether the sentence begins a chunk: see docs/decisions/004-content-defined-chunks.md.
"""

from data_jobs.stages.chunkers.page_chunker import PageChunker


class ContentDefinedChunker(PageChunker):
    """Divides documents into chunks of whole sentences, rows and lines, as ``PageChunker.packed`` does."""
