"""Measures the answers of agents."""
