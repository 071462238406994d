"""Organisations: their limits, their keys, their usage, and the answers to their repeated requests."""
