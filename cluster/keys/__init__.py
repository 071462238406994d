"""API keys of organisations: rows in the database, and a copy in the memory of each replica."""
