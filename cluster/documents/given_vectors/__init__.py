"""Check vectors that callers compute themselves, and insert them into a store."""
