"""Holds the code that every node of the cluster uses: settings, the database, engines, documents, jobs."""
