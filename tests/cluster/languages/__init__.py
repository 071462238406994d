"""Tests of the detection of languages."""
