"""Vectors that callers compute themselves: the checks of their rows, and inserting them into a store."""
