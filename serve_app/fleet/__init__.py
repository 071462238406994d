"""Describes what executes the work: the replicas of each deployment, and the nodes with their processors."""
