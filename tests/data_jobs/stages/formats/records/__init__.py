"""Tests of the parsers of records and of data."""
