-- Batches count files of their own, jobs say why they were cancelled, stages say how far they are, and after an absence of the
-- database its workers have time to come back.

-- Files of batches: one file can be in many. A member follows the job that processes its file for this batch.
CREATE TABLE file_batch_members (
    organisation  text NOT NULL,
    batch         text NOT NULL,
    vector_store  text NOT NULL,
    file          text NOT NULL,
    job           text,                                        -- null: it follows none any more, and its status stays
    status        text NOT NULL CHECK (status IN ('in_progress', 'completed', 'cancelled', 'failed')),
    PRIMARY KEY (organisation, batch, file),
    FOREIGN KEY (organisation, batch) REFERENCES file_batches (organisation, id) ON DELETE CASCADE
);
CREATE INDEX file_batch_members_job ON file_batch_members (organisation, job) WHERE job IS NOT NULL;
CREATE INDEX file_batch_members_file ON file_batch_members (organisation, vector_store, file);

INSERT INTO file_batch_members (organisation, batch, vector_store, file, job, status)
SELECT attached.organisation, attached.batch, attached.vector_store, attached.file, attached.job, attached.status
FROM vector_store_files AS attached
JOIN file_batches ON (file_batches.organisation, file_batches.id) = (attached.organisation, attached.batch);

DROP INDEX vector_store_files_batch;
ALTER TABLE vector_store_files DROP COLUMN batch;

CREATE FUNCTION batch_members_follow_their_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE file_batch_members SET
        status = CASE NEW.state WHEN 'succeeded' THEN 'completed' WHEN 'failed' THEN 'failed' WHEN 'cancelled' THEN 'cancelled'
            ELSE 'in_progress' END
    WHERE organisation = NEW.organisation AND job = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER batch_members_follow_their_job AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NEW.state <> 'running')
EXECUTE FUNCTION batch_members_follow_their_job();

-- The reason given with a request to cancel, as a sentence and as a code; kept until the job has ended.
ALTER TABLE jobs ADD COLUMN cancel_reason text, ADD COLUMN cancel_code text;

-- How far a stage is in one attempt. A job about a file counts percent of all its stages.
ALTER TABLE job_stages ADD COLUMN done bigint NOT NULL DEFAULT 0, ADD COLUMN total bigint, ADD COLUMN unit text;
UPDATE jobs SET done = 0, total = 100, unit = 'percent' WHERE kind = 'index_file' AND state IN ('queued', 'running');

-- The time of the last round that looked for dead workers. After a gap, in which no process could write, no worker counts as dead
-- before patient_until.
CREATE TABLE rescue_rounds (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_at        timestamptz NOT NULL,
    patient_until  timestamptz NOT NULL
);
INSERT INTO rescue_rounds (last_at, patient_until) VALUES (now(), now());
