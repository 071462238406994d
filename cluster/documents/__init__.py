"""Files, uploads, vector stores, the files attached to them, and documents with their versions."""
