"""Tests of trace ids and spans."""
