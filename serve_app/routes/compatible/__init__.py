"""The paths of other servers' APIs, and older paths, for clients that already use these paths."""
