"""Text to vectors: local weights and remote providers behind one contract."""
