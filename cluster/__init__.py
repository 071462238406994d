"""What every node of the cluster has: settings, the database, engines, documents, jobs."""
