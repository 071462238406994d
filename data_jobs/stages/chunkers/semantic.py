"""The semantic chunker cuts between neighbouring groups of sentences that differ in meaning.

    prepared = SemanticChunker(tokeniser, fingerprint.id).prepared(document, pages)
    vectors = engine.embed_ids(prepared.inputs)         # one vector for each group of sentences
    prepared.finish(vectors).chunks

The store's own model computes the vectors of all groups of a document in one pass. Each token is in at most
one group, and a group leaves out as many of its last tokens as the model adds special tokens. So a document
costs at most twice the tokens of its chunks. A page that fits into one chunk has no groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.records import Page
from data_jobs.stages.chunkers.contract import ChunkedDocument, PreparedChunks
from data_jobs.stages.chunkers.cut_page import Cut, CutPage
from data_jobs.stages.chunkers.page_chunker import PageChunker

#: Minimum number of tokens of a group, as a share of the token limit. A shorter group says too little about
#: its subject, and a longer group leaves few places to cut.
GROUP_SHARE = 1 / 8
#: The subject changes at a place if the distance there is at least this number of standard deviations above
#: the mean distance of the document. The rest of a page that fits into one chunk is cut only at such a place.
CHANGE_DEVIATIONS = 1.0


@dataclass(frozen=True, slots=True)
class _Groups:
    """The groups of sentences of a page. A page that fits into one chunk has no groups."""

    page: CutPage
    #: The first token of each group, in ascending order.
    starts: NDArray[np.int64]
    #: Distance of the vector of each group from the vector of the group before: 0 for equal directions, 2 for
    #: opposite directions. The first group has 0.
    distances: NDArray[np.float32]


class SemanticChunker(PageChunker):
    """Divides documents where the subject changes."""

    def prepared(self, document: str, pages: Sequence[Page]) -> PreparedChunks:
        """See ``Chunker.prepared``."""
        cut_pages = self.cut_pages(pages)
        starts = [self._group_starts(page) for page in cut_pages]
        special = self.tokeniser.special_tokens
        inputs = [
            page.tokens.ids[first : max(first + 1, min(last, first + self.most) - special)]
            for page, firsts in zip(cut_pages, starts, strict=True)
            for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), page.total], strict=False)
        ]

        def finish(vectors: NDArray[np.float32]) -> ChunkedDocument:
            ends = np.cumsum([len(firsts) for firsts in starts]).tolist()
            groups = [
                _Groups(page, firsts, _distances(vectors[end - len(firsts) : end]))
                for page, firsts, end in zip(cut_pages, starts, ends, strict=True)
            ]
            found = np.array([one for group in groups for one in group.distances[1:].tolist()])
            change = float(found.mean() + CHANGE_DEVIATIONS * found.std()) if len(found) else 0.0
            return self.assembled(document, cut_pages, [list(self._cuts(one, change)) for one in groups])

        return PreparedChunks(inputs=inputs, finish=finish)

    def _group_starts(self, page: CutPage) -> NDArray[np.int64]:
        if page.total <= self.most:
            return np.empty(0, dtype=np.int64)
        least, starts = max(1, int(self.most * GROUP_SHARE)), [0]
        for start in page.sentences[0].tolist():
            if start - starts[-1] >= least:
                starts.append(start)
        return np.array(starts, dtype=np.int64)

    def _cuts(self, groups: _Groups, change: float) -> Iterator[Cut]:
        """Yield the cuts of a page. A chunk has ``least`` tokens or more, if the sentences allow that."""
        page, first = groups.page, 0
        while first < page.total:
            context = self.context_at(page, first)
            most = self.last_end(page, first, context)
            low, high = np.searchsorted(groups.starts, [first + self.least, most + 1])
            best = low + int(np.argmax(groups.distances[low:high])) if low < high else None
            is_last = most >= page.total
            if best is not None and is_last:
                short = page.total - int(groups.starts[best]) < self.least
                best = None if short or groups.distances[best] < change else best
            last = page.total
            if best is not None:
                last = int(groups.starts[best])
            elif not is_last:
                last = page.last_place(first, first + self.least, most)
            yield Cut(first, last, context)
            first = last


def _distances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each vector 1 minus its cosine with the vector before it; 0 for the first vector."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(np.float32).tiny)
    cosines = (vectors[1:] * vectors[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
    return np.concatenate([np.zeros(min(1, len(vectors))), 1 - cosines]).astype(np.float32)
