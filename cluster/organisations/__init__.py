"""Manage organisations: their limits and usage, their audit log, and the stored answers to their repeated
requests.
"""
