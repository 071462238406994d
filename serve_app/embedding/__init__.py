"""The served models: inputs, batching, outputs."""
