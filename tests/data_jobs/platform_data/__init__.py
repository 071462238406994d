"""Tests of the generator of platform data."""
