"""Read fetched web pages: main content, title, language, dates and links.

``read_page.read_page`` runs in the parsing process, because pages may be hostile. The parser of uploaded
HTML files (``formats/html.py``) keeps all text of a file; this package keeps the main content only.
"""
