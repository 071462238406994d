"""The models of the answers of POST /v1/chat/completions, whole and in chunks."""

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from cluster.answers import Citation, Source
from cluster.chat import ChatFinishReason, ChatUsage
from serve_app.answers.recording import source_record
from serve_app.edge.place_fields import PlaceFields
from serve_app.edge.response_model import Omissible, ResponseModel


class SourceFields(PlaceFields):
    """The fields that sources and citations share."""

    number: int
    """Number of the source, from 1. The text of the answer cites it as `[1]`."""
    file_id: str
    """Id of the attached file, or of the document if a bulk ingest added the document."""
    filename: str
    """Name of the file."""
    vector_store_id: str
    """Id of the vector store."""
    chunk_id: str
    """Id of the passage."""
    page: int | None
    """Page of the document, from 1; null if the document has no pages."""
    start: int | None
    """Position of the passage's first character on the page, counted from 0."""
    end: int | None
    """Position after the passage's last character on the page."""
    quote: str
    """The part of the passage that contains most of the question's words."""
    score: float
    """0 to 1, higher is better. Compare scores within one answer only."""


class SourceObject(SourceFields):
    """A passage of a document from which the answer is written."""

    text: str
    """The whole passage."""

    @classmethod
    def of(cls, source: Source) -> Self:
        """Convert the source into the object that answers contain."""
        return cls(**source_record(source), text=source.text)


class FileCitation(SourceFields):
    """A source that the answer cites, and the place of the citation."""

    start_index: int
    """Position of the citation's first character in the text of the answer."""
    end_index: int
    """Position after the citation's last character."""


class FileCitationAnnotation(ResponseModel):
    """A citation in the text of the answer."""

    type: Literal["file_citation"] = "file_citation"
    """Always `file_citation`."""
    file_citation: FileCitation
    """The source and the place of the citation."""

    @classmethod
    def of(cls, citation: Citation) -> Self:
        """Convert the citation into the object that answers contain."""
        return cls(
            file_citation=FileCitation(
                **source_record(citation.source), start_index=citation.start, end_index=citation.end
            )
        )


class CompletionUsage(ResponseModel):
    """The tokens of an answer. All numbers are 0 if no chat model was asked."""

    prompt_tokens: int
    """Number of tokens that the chat model read, with the sources and the history."""
    completion_tokens: int
    """Number of tokens that the chat model wrote."""
    total_tokens: int
    """The sum of both."""

    @classmethod
    def of(cls, calls: Iterable[ChatUsage]) -> Self:
        """Sum the usage of all calls of the chat model for one answer."""
        calls = list(calls)
        read, written = sum(one.prompt_tokens for one in calls), sum(one.completion_tokens for one in calls)
        return cls(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


class CompletionMessage(ResponseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    """Always `assistant`."""
    content: str
    """The text of the answer."""
    refusal: None = None
    """Always null."""


class CompletionChoice(ResponseModel):
    """The only answer."""

    index: Literal[0] = 0
    """Always 0."""
    message: CompletionMessage
    """The answer."""
    logprobs: None = None
    """Always null."""
    finish_reason: ChatFinishReason
    """`stop`: the answer is whole. `length`: it reached its maximum number of tokens. `content_filter`: the
    chat server left something out."""


class AnswerFields(ResponseModel):
    """The fields that OpenAI's objects do not have."""

    sources: Omissible[list[SourceObject]] = None
    """The sources of the answer, best first; in a stream, the first chunk has them."""
    annotations: Omissible[list[FileCitationAnnotation]] = None
    """The citations in the order of the text; in a stream, the last chunk with a choice has them."""
    generated: Omissible[bool] = None
    """True if a chat model wrote the text; false if it quotes passages, or says that nothing was found. In a
    stream, the last chunk with a choice has it."""
    precomputed: Omissible[bool] = None
    """True if the sources were found before the question was asked; otherwise left out. In a stream, the
    first chunk has it."""
    conversation: Omissible[str] = None
    """Id of the conversation in which the answer is stored, to send as `metadata.conversation` of the next
    question; left out if the answer is not stored."""
    message_id: Omissible[str] = None
    """Id of the stored answer, for feedback; left out if the answer is not stored."""


class ChatCompletion(AnswerFields):
    """OpenAI's CreateChatCompletionResponse, with the sources added."""

    id: str
    """Id of this answer."""
    object: Literal["chat.completion"] = "chat.completion"
    """Always `chat.completion`."""
    created: int
    """Time of the answer, in seconds since 1970."""
    model: str
    """The model of the request."""
    choices: list[CompletionChoice]
    """The answer, as one item."""
    usage: CompletionUsage
    """The tokens of the answer."""


def annotations_of(citations: Sequence[Citation]) -> list[FileCitationAnnotation]:
    """Convert the citations into the objects that answers contain."""
    return [FileCitationAnnotation.of(citation) for citation in citations]
