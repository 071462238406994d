"""Store the chunks of documents in Postgres with their texts, words and attributes. Find their vectors."""
