"""Metrics of jobs, which replicas of the endpoint publish."""
