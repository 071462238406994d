"""Describes the fleet, which executes the work: the replicas of each deployment, and the nodes and their CPUs
and GPUs.
"""
