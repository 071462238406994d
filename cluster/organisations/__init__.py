"""Organisations: what is recorded for each, and the answers kept for their repeated requests."""
