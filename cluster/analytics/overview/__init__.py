"""Sums up the jobs and the embedded tokens of one organisation or of the whole cluster at this moment."""
