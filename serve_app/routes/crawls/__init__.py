"""Routes of /v1/crawls, which read websites into vector stores, and find the URLs of websites."""
