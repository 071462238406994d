"""The code of jobs: the worker, the stages of jobs, and commands that run jobs (such as ``ingest``)."""
