"""Finds the jobs that have changed, for pages that show many jobs."""
