"""One file a format: bytes in, pages of text out. Runs inside the limited process of ``parse_process``."""
