"""Sentiment of short English texts. It needs no database and no Ray."""
