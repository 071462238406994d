"""Manage batches of requests, as in OpenAI's Batch API. A batch reads a file of requests, and writes a file
of answers.
"""
