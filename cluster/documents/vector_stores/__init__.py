"""Vector stores, the files attached to them, and batches of attached files."""
