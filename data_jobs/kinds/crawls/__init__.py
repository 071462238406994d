"""The jobs that read websites: ``crawl`` stores pages in a vector store, and ``discover`` only finds URLs."""
