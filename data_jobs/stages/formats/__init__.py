"""Parsers, one for each format. A parser turns the bytes of a file into pages of text.

The parsers run in the parsing process.
"""
