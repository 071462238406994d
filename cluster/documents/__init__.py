"""Store files, uploads, batches, vector stores, attached files, and documents with their versions."""
