"""What moves: the jobs that run on the cluster, and the stages they are made of."""
