"""Reads files of agents, and finds all faults of a file together."""
