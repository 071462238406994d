"""Containers, such as archives, and their entries, which are files of their own."""
