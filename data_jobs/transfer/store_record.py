"""Defines the options of a vector store that a new store can take over. A copy takes them from a store. An
export writes them into the metadata of its file, and an import reads them there.

record = StoreRecord.of(store)
new = record.new("handbook", index="pgvector")
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.errors import InvalidInput
from cluster.formats.recognition import OcrMode
from cluster.settings.documents import MAX_OCR_LANGUAGES, OCR_LANGUAGES
from data_jobs.stages.chunkers.table import chunker_for


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ExportedChunkSizes(_Checked):
    """The sizes of the chunks of the strategy ``static``, in tokens."""

    max_chunk_size_tokens: Annotated[int, Field(ge=1, le=4096)]
    chunk_overlap_tokens: Annotated[int, Field(ge=0, le=2048)] = 0


class ExportedStrategy(_Checked):
    """The chunking strategy of a store or a file."""

    type: Annotated[str, StringConstraints(max_length=64)]
    static: ExportedChunkSizes | None = None

    @model_validator(mode="after")
    def _a_chunker_serves_it(self) -> Self:
        if (self.type == "static") != (self.static is not None):
            raise ValueError("the strategy static has sizes, and no other strategy has them")
        try:
            chunker_for(self.model_dump(exclude_none=True))
        except InvalidInput as exc:
            raise ValueError(str(exc)) from exc
        return self


class ExportedExpiry(_Checked):
    """The rule that a store expires some days after its last use."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class StoreRecord(_Checked):
    """The options of a store; ``VectorStore`` describes them. Files of earlier releases have no options."""

    description: Annotated[str, StringConstraints(max_length=100_000)] = ""
    metadata: Annotated[
        dict[
            Annotated[str, StringConstraints(max_length=64)],
            Annotated[str, StringConstraints(max_length=512)],
        ],
        Field(max_length=16),
    ] = {}
    chunking_strategy: ExportedStrategy | None = None
    expires_after: ExportedExpiry | None = None
    partial: bool = False
    ocr: OcrMode | None = None
    ocr_languages: (
        Annotated[str, StringConstraints(pattern=OCR_LANGUAGES, max_length=MAX_OCR_LANGUAGES)] | None
    ) = None

    @classmethod
    def of(cls, store: VectorStore) -> Self:
        """Return the options of a store."""
        return cls.model_validate({name: getattr(store, name) for name in cls.model_fields})

    def new(self, name: str, *, index: str) -> NewStore:
        """Return the fields of a new store with these options.

        Args:
            index: name of the index that will hold the vectors.
        """
        options: dict[str, Any] = self.model_dump(exclude_none=True)
        return NewStore(name=name, index=index, **options)
