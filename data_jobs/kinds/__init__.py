"""The code that does jobs: one file for each kind, and the table that names them (``registry``)."""
