"""What every node of the cluster has: settings, records, the database, engines, the vector index, the ledger."""
