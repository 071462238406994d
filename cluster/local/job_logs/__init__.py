"""Print everything about one job from every process, in the order of time, for ``make logs JOB=...``.

``log_files`` finds the files that Ray keeps of each process, ``log_entries`` reads their lines, and
``job_history`` reads what Postgres knows about the job. ``__main__`` is the command.
"""
