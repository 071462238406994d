"""/v1/crawls: read websites into vector stores, and find their URLs."""
