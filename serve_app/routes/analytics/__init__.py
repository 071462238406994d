"""The routes of statistics, which read the roll-ups of ``cluster.analytics``."""
