"""Chunkers, which divide pages into chunks. ``table.py`` lists the chunkers."""
