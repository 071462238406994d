"""Vectors that callers compute themselves: checking the rows, and inserting the rows into a store."""
