"""The code that runs jobs: one file for each kind of job, and the table of all kinds (``registry``)."""
