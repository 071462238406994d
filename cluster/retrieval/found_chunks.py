"""Makes the chunks of a retrieval from the hits of a search.

chunks_of([(hit, "Who may stop the pump?")])[0].snippet
"""

from collections.abc import Sequence

from cluster.documents.chunks.chunk_ranking import Hit
from cluster.page_structure import ChunkPlace
from cluster.retrieval.contract import RetrievedChunk
from cluster.retrieval.snippets import QueryWords, snippet
from cluster.text.graphemes import boundary
from cluster.vector_index.attributes import FILE, context_of, owner_attributes, system_attributes

#: The word rankings and the snippets read only this many characters of a question, about as many as a model
#: reads of a text, because each further word costs a look-up.
WORDS_CHARACTERS = 2_048

#: A hit, and the question that the hit answers.
Answer = tuple[Hit, str]


def chunks_of(answers: Sequence[Answer]) -> list[RetrievedChunk]:
    """Make the chunks of a result from hits, each with the question that it answers."""
    words = {
        question: QueryWords(beginning_of(question)) for question in {question for _, question in answers}
    }
    return [_chunk(hit, question, words[question]) for hit, question in answers]


def _chunk(hit: Hit, question: str, words: QueryWords) -> RetrievedChunk:
    own = system_attributes(hit.attributes)
    return RetrievedChunk(
        id=hit.id,
        store=hit.store,
        file=own.get(FILE, hit.document),
        filename=own.get("filename", ""),
        text=hit.text,
        score=min(1.0, max(0.0, hit.score)),
        question=question,
        page=own.get("page"),
        start=own.get("start"),
        end=own.get("end"),
        context=context_of(hit.text, hit.attributes),
        place=ChunkPlace.of(own),
        snippet=snippet(hit.text, words),
        similarity=hit.similarity,
        keywords=own.get("keywords", []),
        attributes={
            name: value
            for name, value in owner_attributes(hit.attributes).items()
            if isinstance(value, str | int | float | bool)
        },
    )


def beginning_of(question: str) -> str:
    """Return the part of a question whose words are searched."""
    return question[: boundary(question, WORDS_CHARACTERS)]
