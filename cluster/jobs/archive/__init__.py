"""The archive of finished jobs: when jobs leave the database, and the Parquet files that keep them."""
