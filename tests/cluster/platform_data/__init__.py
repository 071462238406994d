"""Tests of the platform's data."""
