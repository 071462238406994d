-- Dead letters are counted for metrics and alerts (cluster/jobs/figures.py).

CREATE INDEX jobs_failed ON jobs (kind) WHERE state = 'failed';
