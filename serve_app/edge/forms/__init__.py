"""Multipart forms with a file, read while they arrive."""
