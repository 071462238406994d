"""Computes the sentiment of short English texts. This package needs no database and no Ray."""
