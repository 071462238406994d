"""Map the vectors of a vector store to points in a plane, so that people see which chunks are alike.

The route ``GET /v1/vector_stores/{id}/embedding_map`` calls this package.

    chunks = sample(pool, indexes.of(store), store, limit=1_000)
    drawn = project(np.stack([chunk.vector for chunk in chunks]))
"""

from cluster.documents.embedding_map.projection import Projection, project
from cluster.documents.embedding_map.vector_sample import MAX_POINTS, sample

__all__ = ["MAX_POINTS", "Projection", "project", "sample"]
