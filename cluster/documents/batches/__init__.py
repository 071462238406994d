"""Batches of requests, as in OpenAI's Batch API: a file of requests becomes a file of answers."""
