"""Read files of given vectors in a separate process with limits."""
