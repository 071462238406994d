"""Request bodies: limits, headers and decompression."""
