"""Vectors in our own Postgres, on pgvector."""
