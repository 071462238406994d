"""Parsers of PDF: one on MuPDF and one on PDFium, and the rules that both follow."""
