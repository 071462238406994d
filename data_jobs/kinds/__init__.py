"""What a worker does: one file for each kind of job."""
