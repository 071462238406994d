"""Reads files of events of a platform: JSON lines, CSV and Parquet."""
