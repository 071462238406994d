"""Functions for containers, such as archives, and for their entries. Each entry becomes a file of its own."""
