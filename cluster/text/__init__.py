"""Handles Unicode text: grapheme clusters, recognition of encodings by bytes, and well-formed JSON."""
