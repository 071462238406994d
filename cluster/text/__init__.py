"""Text as Unicode defines it: graphemes, encodings known by their bytes, JSON that every parser reads."""
