"""Starts and stops a whole cluster on this machine, shows the status of the cluster, and runs the demo."""
