"""Reads files of rows in a process with limits, because a file of a tenant may be hostile."""
