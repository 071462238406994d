"""Texts to token ids and back to words."""
