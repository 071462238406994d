"""The served models, with the handling of their inputs, batches and outputs."""
