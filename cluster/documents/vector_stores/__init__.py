"""Manage vector stores, the files that are attached to them, and batches of attached files."""
