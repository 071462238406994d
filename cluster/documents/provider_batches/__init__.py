"""Batches of a remote provider's own Batch API, and the chunks that they embed, as Postgres records them."""
