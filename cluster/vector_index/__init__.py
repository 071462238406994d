"""Vectors to a vector database: one contract, one adapter a database."""
