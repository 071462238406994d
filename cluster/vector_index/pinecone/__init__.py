"""The vector index on Pinecone: an adapter for the data plane of one Pinecone index."""
