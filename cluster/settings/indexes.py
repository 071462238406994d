"""The vector indexes that vector stores can use: names, hosts, and the default."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from cluster.described_model import DescribedModel
from cluster.settings.values import Concern, Table

#: The index in our own Postgres, which every installation has.
PGVECTOR = "pgvector"
PINECONE = "pinecone"
INDEX_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
#: A function that opens an index of the operator's own.
MODULE_AND_FUNCTION = re.compile(r"[\w.]+:\w+")
#: A host with an optional port; ``http://`` only for this machine.
HOST = re.compile(r"(https://)?[A-Za-z0-9.-]+(:\d+)?|http://(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?")
KINDS_SENTENCE = (
    "write pgvector, pinecone:HOST, or module:function, or an object with kind, host, key_env and "
    "requests_per_second"
)


class IndexSource(DescribedModel):
    """The index that a name in ``CLUSTER_INDEXES`` means, and the options of this index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """``pgvector``, ``pinecone``, or ``module:function``."""
    host: str | None = None
    """Host of a Pinecone index, such as ``docs-1a2b.svc.aped-1.pinecone.io``."""
    key_env: str = Field(default="PINECONE_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the key of the index."""
    requests_per_second: int = Field(default=100, ge=1, le=100_000)
    """Limit of Pinecone on the requests of one operation (query, upsert, delete) in one namespace, and on
    fetches in one index."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.kind == PINECONE:
            if self.host is None or not HOST.fullmatch(self.host):
                raise ValueError(
                    f"{self.host!r} is not the host of a Pinecone index: copy it from Pinecone's console, "
                    "such as docs-1a2b.svc.aped-1.pinecone.io. http:// is only for this machine, because "
                    "the key would be readable on the way"
                )
        elif self.kind != PGVECTOR and not MODULE_AND_FUNCTION.fullmatch(self.kind):
            raise ValueError(f"{self.kind!r} is not a kind of vector index: {KINDS_SENTENCE}")
        elif self.host is not None:
            raise ValueError(f"an index of kind {self.kind} has no host: leave it out")
        return self


def index_source(given: Any) -> Any:
    """Return the fields of an ``IndexSource`` that is written as a text. Return other values unchanged."""
    if not isinstance(given, str):
        return given
    kind, colon, host = given.partition(":")
    return {"kind": kind, "host": host} if kind == PINECONE and colon else {"kind": given}


class VectorIndexSettings(Concern):
    """The vector indexes that vector stores can use."""

    indexes: Annotated[
        dict[str, Annotated[IndexSource, BeforeValidator(index_source)]], AfterValidator(Table)
    ] = Table()
    """Vector indexes by name, as JSON: ``{"main": "pinecone:docs-1a2b.svc.aped-1.pinecone.io"}``. A value is
    ``pinecone:HOST``, ``pgvector``, ``module:function``, or an object with ``kind``, ``host``, ``key_env``
    (the environment variable with the key; default ``PINECONE_API_KEY``) and ``requests_per_second`` (default
    100). The name ``pgvector`` always exists: the Postgres server."""

    vector_index: str = Field(default=PGVECTOR, pattern=r"^([a-z][a-z0-9_-]{0,39}|[\w.]+:\w+)$")
    """Vector index of new vector stores that name none: ``pgvector``, in the Postgres server, a name of
    ``CLUSTER_INDEXES``, or ``module:function``, which opens an index of your own. A vector store keeps the
    index that it was created with."""

    @model_validator(mode="after")
    def _names_are_valid(self) -> Self:
        for name, source in self.indexes.items():
            if not INDEX_NAME.fullmatch(name) and name != source.kind:
                raise ValueError(
                    f"{name!r} in CLUSTER_INDEXES is not a name of an index: begin with a letter, and use "
                    "1 to 40 of a-z, 0-9, _ and -"
                )
            if name == PGVECTOR and source.kind != PGVECTOR:
                raise ValueError("the name pgvector in CLUSTER_INDEXES always means the Postgres server")
        if self.vector_index not in self.index_sources:
            raise ValueError(
                f"CLUSTER_VECTOR_INDEX={self.vector_index} names no index; there are: "
                f"{', '.join(self.index_sources)}. Add it to CLUSTER_INDEXES"
            )
        return self

    @property
    def index_sources(self) -> dict[str, IndexSource]:
        """Every configured index by name. The first is ``pgvector``."""
        own = {self.vector_index} if MODULE_AND_FUNCTION.fullmatch(self.vector_index) else set()
        return {
            PGVECTOR: IndexSource(kind=PGVECTOR),
            **self.indexes,
            **{name: IndexSource(kind=name) for name in own},
        }
