"""Sentiment of short English texts, and the language of any text. It needs no database and no Ray."""
