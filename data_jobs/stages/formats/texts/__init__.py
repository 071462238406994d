"""Parsers of texts with a structure of their own: source code, reStructuredText, LaTeX and others."""
