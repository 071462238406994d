"""Settings of what watches the cluster. ``cluster.settings`` composes them into ``Settings``."""
