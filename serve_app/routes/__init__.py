"""The routes of the API, with one file for each group of URLs."""
