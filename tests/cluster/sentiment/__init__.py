"""Tests of the sentiment of texts."""
