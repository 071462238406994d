"""The jobs that run on the cluster, and the stages of these jobs."""
