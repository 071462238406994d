"""Parsers of the formats of office programs and of e-books. Most of these files are ZIP archives of XML."""
