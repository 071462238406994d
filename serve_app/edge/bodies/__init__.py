"""Limits, headers and decompression of request bodies."""
