"""Paths of other servers' APIs and older paths, for clients that used those before."""
