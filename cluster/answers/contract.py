"""Types of an answer: the request, the rules of the agent, and the events of the stream.

An answer is a stream of events: one ``Sources``, then any number of ``Text``, and one ``Done`` at the end.

    async with aclosing(answer(request, find=find, chat=chat)) as events:
        async for event in events:
            if isinstance(event, Text):
                send(event.text)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cluster.agents.definition import DEFAULT_PASSAGES, NO_ANSWER
from cluster.chat import ChatFinishReason, ChatMessage, ChatUsage
from cluster.page_structure import NO_PLACE, ChunkPlace
from cluster.retrieval import Ranker, RetrievalOptions, Retrieved


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRules:
    """The part of an agent's definition that decides how the agent answers."""

    #: The agent's instructions, which become the beginning of the system prompt.
    instructions: str = ""
    #: Sentence that the agent answers if it finds no source.
    no_answer: str = NO_ANSWER
    #: Maximum number of sources of an answer.
    max_sources: int = DEFAULT_PASSAGES
    #: Chunks with a lower value are not used as sources; 0 to 1. The value is the score of the cross-encoder,
    #: or else the cosine similarity of the question and the chunk.
    threshold: float = 0.0
    ranker: Ranker = Ranker.FUSED
    #: The agent's temperature; None: the chat server's default.
    temperature: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRequest:
    """A conversation whose last message is the question to answer."""

    rules: AnswerRules
    #: The messages of the conversation, oldest first. The last message is the user's question. Messages of
    #: the role ``system`` follow the agent's instructions and are never cut off.
    history: Sequence[ChatMessage]
    #: Only chunks whose attributes pass these filters become sources; None: every chunk.
    filters: Mapping[str, Any] | None = None
    #: Maximum number of tokens of the answer; None: the maximum of the chat model.
    max_tokens: int | None = None
    #: Temperature of the request; None: the temperature of the agent.
    temperature: float | None = None
    #: Options that the chat model gets as they are; see ``ChatRequest``.
    top_p: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A chunk from which the answer is written."""

    #: Number of the source in the answer, from 1. The answer cites the source as ``[1]``.
    number: int
    #: Id of the attached file; for a document of a bulk ingest, the id of the document.
    file: str
    filename: str
    #: Id of the vector store that contains the chunk.
    store: str
    #: Id of the chunk.
    chunk: str
    #: Page of the document, from 1; None if the document has no pages.
    page: int | None
    #: Position of the chunk's first character on the page; None if it is unknown.
    start: int | None
    #: Position after the chunk's last character on the page; None if it is unknown.
    end: int | None
    #: Headings, name of the page, cells and rows of the chunk.
    place: ChunkPlace = NO_PLACE
    #: The part of the chunk with most of the question's words.
    quote: str
    #: The whole text of the chunk.
    text: str
    #: Score from 0 to 1; compare scores only within one answer.
    score: float
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The first event: the sources of the answer, best first. Without a search, or if nothing was found,
    there are no sources.
    """

    sources: Sequence[Source]
    #: The question that was searched for, after the question was resolved with the history.
    query: str
    #: True if the sources were found before the question was asked (``cluster.precomputed``).
    precomputed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The next part of the answer's text."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """A place of the answer's text that cites a source."""

    source: Source
    #: Position of the citation's first character in the answer's text, such as that of ``[1]``.
    start: int
    #: Position after the citation's last character.
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The last event."""

    finish_reason: ChatFinishReason
    #: Tokens that the chat model read and wrote for the answer; None if no chat model was asked.
    usage: ChatUsage | None
    #: The citations in the order of the text. If the chat model cites no source, each source has one
    #: citation, which is empty and at the end of the text.
    citations: Sequence[Citation]
    #: True if a chat model wrote the text; False if the text consists of quoted passages or says that nothing
    #: was found.
    generated: bool


AnswerEvent = Sources | Text | Done


class FindChunks(Protocol):
    """Searches the agent's vector stores for a question. The caller has bound the organisation and the stores
    to this function.
    """

    async def __call__(self, question: str, options: RetrievalOptions, /) -> Retrieved: ...
