"""Record the batches that a provider's Batch API computes, and the chunks that these batches embed."""
