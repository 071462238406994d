"""Paths of other servers and older clients, for callers that move here."""
