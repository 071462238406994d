"""One parser per format, which turns the bytes of a file into pages of text.

They run in the parsing process.
"""
