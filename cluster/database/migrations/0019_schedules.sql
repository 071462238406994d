-- Schedules with an off-peak window and a policy for missed times, the history of their runs, and jobs that know the time they were due.

ALTER TABLE jobs
    ADD COLUMN schedule       text,                            -- id of the schedule that submitted the job
    ADD COLUMN scheduled_for  timestamptz,                     -- the time of the schedule for which the job was submitted
    ADD COLUMN run_window     jsonb;                           -- the job begins only inside it (cluster/jobs/schedules/run_window.py)

ALTER TABLE schedules
    ADD COLUMN name               text,
    ADD COLUMN priority           smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    ADD COLUMN all_organisations  boolean NOT NULL DEFAULT false,  -- each time gives one job for each organisation
    -- Which missed times get a job: all, only the latest, or none. Schedules that existed before had one job for all missed times.
    ADD COLUMN catch_up           text NOT NULL DEFAULT 'latest' CHECK (catch_up IN ('all', 'latest', 'none')),
    ADD COLUMN catch_up_limit     integer NOT NULL DEFAULT 100 CHECK (catch_up_limit BETWEEN 1 AND 1000),
    ADD COLUMN not_before         timestamptz,                 -- no time of the schedule is earlier
    ADD COLUMN run_window         jsonb,                       -- of each job
    ADD COLUMN disabled_because   text;                        -- why a worker disabled it; null: a person did

-- One row for each time of a schedule, and for each job that a person started from it. The primary key is what keeps
-- two processes from submitting a time twice.
CREATE TABLE schedule_runs (
    organisation      text NOT NULL,                           -- owns the schedule
    schedule          text NOT NULL,
    scheduled_for     timestamptz NOT NULL,
    -- Owns the job. If the schedule is for all organisations, it is another organisation than the schedule's.
    job_organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id                text NOT NULL,                           -- run_...
    by_hand           boolean NOT NULL DEFAULT false,          -- true: a person started it, and it is no time of the schedule
    missed_from       timestamptz,                             -- the first of the missed times that this run stands for; null: none
    job               text,                                    -- null: no job was accepted, and the error says why
    error             text,
    error_code        text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, schedule, scheduled_for, job_organisation),
    FOREIGN KEY (organisation, schedule) REFERENCES schedules (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (job_organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);
CREATE INDEX schedule_runs_of_job ON schedule_runs (job_organisation, job);
