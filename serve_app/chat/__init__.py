"""Measures the requests of a replica to chat servers (``cluster.chat``)."""
