"""The stages that process a document. Each stage is a plain callable that does not import Ray."""
