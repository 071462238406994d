"""Measures profiles: the sentiment of messages, their topics, and the speed of the enrichment."""
