"""Usage of HTTP requests: it is written to a local file before each answer, and to the database shortly
after.
"""
