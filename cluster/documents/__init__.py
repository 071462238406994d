"""Store files, uploads, vector stores, attached files, and documents with their versions."""
