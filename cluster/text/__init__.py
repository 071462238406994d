"""Text as Unicode defines it: grapheme clusters, encodings recognised by their bytes, well-formed JSON."""
