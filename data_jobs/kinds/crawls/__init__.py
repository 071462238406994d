"""The jobs that read websites: ``crawl`` into a vector store, and ``discover`` for URLs only."""
