"""The metrics of jobs that the replicas of the endpoint publish."""
