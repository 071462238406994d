"""Organisations: their limits, API keys and usage, and the stored answers to their repeated requests."""
