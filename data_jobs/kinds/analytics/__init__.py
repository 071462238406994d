"""Jobs about the roll-ups of ``cluster.analytics``."""
