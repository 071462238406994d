"""Reads files of agents, and finds all faults in them at once."""
