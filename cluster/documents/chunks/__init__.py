"""The chunks of documents in Postgres: their texts, words and attributes, and where their vectors are
stored.
"""
