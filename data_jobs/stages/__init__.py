"""The stages of a document: plain callables that do not import Ray."""
