"""Tests of the parsers of texts with a structure of their own."""
