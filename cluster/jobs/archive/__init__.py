"""The archive of finished jobs: moves old jobs from the database to Parquet files."""
