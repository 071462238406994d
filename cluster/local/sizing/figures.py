"""Defines the figures from which the size of a cluster is computed. ``docs/sizing.md`` says where each figure
comes from.

Figures().stage_ms_per_page
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Holds what one page, one chunk and one request need."""

    #: Mean number of chunks of a page, from 68 pages of technical documents.
    chunks_per_page: float = 3.3
    #: Mean number of tokens of a page, from the same 68 pages.
    tokens_per_page: float = 530.0
    #: CPU milliseconds of the stages before and after the engine, for each page.
    stage_ms_per_page: float = 170.0
    #: Tokens that an engine embeds in one second on one core in float32 (all-MiniLM-L6-v2).
    tokens_per_core_s: float = 2_870.0
    #: Tokens that an engine embeds in one second on one GPU. Not measured with this project.
    tokens_per_gpu_s: float = 500_000.0
    #: CPU milliseconds of Postgres for each chunk that is written.
    postgres_ms_per_chunk: float = 0.6
    #: CPU milliseconds of Postgres for each search.
    postgres_ms_per_search: float = 1.5
    #: CPU milliseconds of all processes for one request to embed one sentence.
    ms_per_embedding: float = 9.8
    #: CPU milliseconds of all processes for one search. An estimate, not measured.
    ms_per_search: float = 15.0
    #: Bytes of a chunk in all tables and indexes of Postgres, without the numbers of its vector.
    bytes_per_chunk: float = 6_900.0
    #: Bytes of each number of a vector: four in the table, and two in the approximate index.
    bytes_per_number: float = 6.0
    #: Bytes that the approximate index needs for the list of a chunk's neighbours.
    index_bytes_per_chunk: float = 360.0
    #: Share of a core that may be used on average. The rest is for peaks.
    busy_share: float = 0.6

    def index_bytes(self, dimensions: int) -> float:
        """Return the bytes of a chunk in the approximate index. The index has two bytes for each number of
        the vector.
        """
        return 2 * dimensions + self.index_bytes_per_chunk
