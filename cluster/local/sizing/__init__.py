"""Computes how many workers, how much disk and how much memory a load needs, from measured figures."""
