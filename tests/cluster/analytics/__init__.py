"""Tests of cluster/analytics."""
