"""What the job of an attached container does: unpack it, attach its entries, and wait for their jobs."""
