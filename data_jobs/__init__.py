"""The jobs that run on the cluster, and the stages that they are made of."""
