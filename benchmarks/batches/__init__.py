"""Benchmarks of the Batch API on a running cluster: speed, faults, memory. ``__main__`` is the command."""
