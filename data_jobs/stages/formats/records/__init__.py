"""Parsers of records and of data: tables of text, JSON, JSON lines and XML."""
