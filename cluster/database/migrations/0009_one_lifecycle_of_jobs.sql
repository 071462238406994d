-- Jobs that a command runs itself have queue entries and attempts like those that workers run; the code, no trigger, decides which
-- public error code an attached file shows; schedules are rows.

-- One word for one thing: how urgent a job is.
ALTER TABLE jobs RENAME COLUMN class TO priority_class;
ALTER TABLE organisation_turns RENAME COLUMN class TO priority_class;
ALTER TABLE class_turns RENAME COLUMN class TO priority_class;

-- True: a command runs the job in its own process. Such a job takes no slot of a worker.
ALTER TABLE jobs ADD COLUMN by_command boolean NOT NULL DEFAULT false;
UPDATE jobs SET by_command = true WHERE entry IS NULL;
-- A command that runs during this migration counts as lost from now on, as its job has no queue entry. It ends with an error.
ALTER TABLE jobs DROP COLUMN lease_until;

-- An attached file keeps the error code of its job. cluster.records maps it to a public code when it is shown.
CREATE OR REPLACE FUNCTION attached_file_follows_its_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vector_store_files SET
        status = CASE NEW.state WHEN 'failed' THEN 'failed' WHEN 'cancelled' THEN 'cancelled' ELSE 'in_progress' END,
        error = CASE NEW.state WHEN 'failed' THEN NEW.error END,
        error_code = CASE NEW.state WHEN 'failed' THEN NEW.error_code END
    WHERE organisation = NEW.organisation AND job = NEW.id;
    RETURN NULL;
END $$;
UPDATE vector_store_files AS attached SET error_code = coalesce(
    (SELECT jobs.error_code FROM jobs
     WHERE (jobs.organisation, jobs.id) = (attached.organisation, attached.job) AND jobs.state = 'failed'),
    CASE attached.error_code WHEN 'unsupported_file' THEN 'unsupported' WHEN 'invalid_file' THEN 'corrupt' ELSE 'failed' END)
WHERE attached.error_code IS NOT NULL;

-- Jobs that are submitted again and again, by a cron expression or at an interval (cluster/jobs/schedules.py).
CREATE TABLE schedules (
    organisation    text NOT NULL REFERENCES organisations,
    id              text NOT NULL,                             -- sched_...
    kind            text NOT NULL,                             -- of the jobs
    arguments       jsonb NOT NULL DEFAULT '{}',               -- the input of each job
    cron            text,                                      -- five fields: minute, hour, day of month, month, day of week
    interval_s      bigint CHECK (interval_s > 0),
    time_zone       text NOT NULL DEFAULT 'UTC',               -- in which the cron expression is read; an IANA name
    priority_class  text NOT NULL DEFAULT 'scheduled' CHECK (priority_class IN ('high', 'medium', 'low', 'scheduled')),
    enabled         boolean NOT NULL DEFAULT true,
    next_run_at     timestamptz NOT NULL,
    last_run_at     timestamptz,                               -- the time for which the last job was due
    last_job        text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    CHECK ((cron IS NULL) <> (interval_s IS NULL))
);
CREATE INDEX schedules_due ON schedules (next_run_at) WHERE enabled;

-- Owns the jobs that look after the cluster itself.
INSERT INTO organisations (id, name) VALUES ('system', 'The cluster itself') ON CONFLICT DO NOTHING;
