"""The steps of a document: plain callables, no Ray inside."""
