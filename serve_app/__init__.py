"""The HTTP applications on Ray Serve, which answer the requests of clients."""
