"""The programs that the benchmarks compare, called parties.

Each runs in a process of its own and prints JSON lines.
"""
