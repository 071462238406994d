"""Read the parts of OpenDocument files (OASIS OpenDocument 1.3, part 3)."""
