"""The vector index in our own Postgres, on pgvector."""
