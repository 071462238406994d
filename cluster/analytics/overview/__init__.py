"""Counts the jobs and the lately embedded tokens of one organisation, or of the whole cluster."""
