"""The one Postgres: started if need be, migrated once, reached through a pool."""
