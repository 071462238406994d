-- Files, uploads, what is attached to vector stores, and jobs that outlive the process that works on them.

-- Jobs ---------------------------------------------------------------------------------------------------------------

ALTER TABLE jobs
    ADD COLUMN class         text NOT NULL DEFAULT 'medium' CHECK (class IN ('high', 'medium', 'low', 'scheduled')),
    ADD COLUMN priority      smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),   -- inside the class; higher goes first
    ADD COLUMN subject       text,                             -- id of the file, store, ... it is about
    ADD COLUMN attempt       integer NOT NULL DEFAULT 1,       -- number of the try that counts; writes of any other are refused
    ADD COLUMN last_attempt  integer NOT NULL DEFAULT 3,       -- the try after which it is a dead letter
    ADD COLUMN entry         bigint,                           -- its entry in the queue (procrastinate_jobs.id); null: it has none
    ADD COLUMN lease_until   timestamptz,                      -- without an entry: its process counts as alive until then
    ADD COLUMN worker        text,                             -- who works on it, or did last
    ADD COLUMN stage         text,                             -- what it does now, or did last
    ADD COLUMN waits_for     text,                             -- while running: what it waits for ('gpu', 'provider'); null: nothing
    ADD COLUMN retry_at      timestamptz,                      -- while queued: not before
    ADD COLUMN cancel_asked  boolean NOT NULL DEFAULT false,
    ADD COLUMN error_code    text;

CREATE INDEX jobs_queued ON jobs (organisation, class, priority DESC, created_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (entry) WHERE state = 'running';
CREATE INDEX jobs_subject ON jobs (organisation, subject) WHERE subject IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- Organisations take turns within a class (see cluster/ledger/queue.py).
CREATE TABLE organisation_turns (
    organisation  text NOT NULL REFERENCES organisations,
    class         text NOT NULL,
    last          bigint NOT NULL,                             -- virtual time of its last entry in the queue
    PRIMARY KEY (organisation, class)
);
CREATE TABLE class_turns (
    class         text PRIMARY KEY,
    now           bigint NOT NULL                              -- virtual time of the entry that was taken last
);
INSERT INTO class_turns (class, now) VALUES ('high', 0), ('medium', 0), ('low', 0), ('scheduled', 0);

-- Most jobs of one class that run at once for the organisation; null: as many as there are slots.
ALTER TABLE organisations ADD COLUMN slots integer CHECK (slots > 0);

CREATE TABLE job_attempts (
    organisation  text NOT NULL,
    job           text NOT NULL,
    attempt       integer NOT NULL,
    worker        text NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    outcome       text CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'retried', 'lost')),   -- null while it runs
    error         text,
    PRIMARY KEY (organisation, job, attempt),
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);

CREATE TABLE job_stages (
    organisation  text NOT NULL,
    job           text NOT NULL,
    attempt       integer NOT NULL,
    stage         text NOT NULL,
    tries         integer NOT NULL DEFAULT 1,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    error         text,                                        -- of the last try that failed
    PRIMARY KEY (organisation, job, attempt, stage),
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);

CREATE TABLE job_events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,     -- what Last-Event-ID names
    organisation  text NOT NULL,
    job           text NOT NULL,
    at            timestamptz NOT NULL DEFAULT now(),
    type          text NOT NULL,                               -- queued, started, stage, progress, retrying, succeeded, failed, cancelled
    data          jsonb NOT NULL DEFAULT '{}',
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);
CREATE INDEX job_events_job ON job_events (organisation, job, id);

-- What was used, for bills. An event is written in the transaction that finishes its job; nobody deletes one.
CREATE TABLE usage_events (
    organisation  text NOT NULL REFERENCES organisations,
    id            text NOT NULL,                               -- deterministic: the same work is counted once
    kind          text NOT NULL,
    unit          text NOT NULL,
    quantity      bigint NOT NULL CHECK (quantity >= 0),
    job           text,
    at            timestamptz NOT NULL DEFAULT now(),
    billed_at     timestamptz,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX usage_events_at ON usage_events (organisation, at);

-- Files --------------------------------------------------------------------------------------------------------------

CREATE TABLE files (
    organisation  text NOT NULL REFERENCES organisations,
    id            text NOT NULL,                               -- file-...
    filename      text NOT NULL,
    purpose       text NOT NULL,
    bytes         bigint NOT NULL CHECK (bytes >= 0),
    sha256        text NOT NULL,                               -- names the blob, in the organisation's part of the blob store
    media_type    text NOT NULL,                               -- found in the bytes
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX files_recent ON files (organisation, id COLLATE "C");   -- ids are in the order of creation
CREATE INDEX files_same ON files (organisation, sha256);
CREATE INDEX files_expire ON files (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE uploads (
    organisation  text NOT NULL REFERENCES organisations,
    id            text NOT NULL,                               -- upload_...
    filename      text NOT NULL,
    purpose       text NOT NULL,
    bytes         bigint NOT NULL CHECK (bytes >= 0),          -- as announced
    media_type    text NOT NULL,                               -- as announced
    status        text NOT NULL CHECK (status IN ('pending', 'completed', 'cancelled', 'expired')),
    expires_after jsonb,                                       -- of the file it becomes
    file          text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (organisation, id)
);

CREATE TABLE upload_parts (
    organisation  text NOT NULL,
    upload        text NOT NULL,
    id            text NOT NULL,                               -- part_...
    bytes         bigint NOT NULL,
    sha256        text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, upload, id),
    FOREIGN KEY (organisation, upload) REFERENCES uploads (organisation, id) ON DELETE CASCADE
);
CREATE INDEX upload_parts_same ON upload_parts (organisation, sha256);

-- Answers to requests that carried an Idempotency-Key, so that a repeated one gets the same.
CREATE TABLE idempotency_keys (
    organisation  text NOT NULL REFERENCES organisations,
    key           text NOT NULL,
    request       text NOT NULL,                               -- digest of method, path and body
    status        integer NOT NULL,
    answer        jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, key)
);

-- Vector stores ------------------------------------------------------------------------------------------------------

ALTER TABLE vector_stores
    ADD COLUMN description        text NOT NULL DEFAULT '',    -- as OpenAI's clients may give one
    ADD COLUMN metadata           jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN chunking_strategy  jsonb,                       -- null: auto
    ADD COLUMN expires_after      jsonb,                       -- {"anchor": "last_active_at", "days": n}
    ADD COLUMN last_active_at     timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN expires_at         timestamptz,
    ADD COLUMN expired_at         timestamptz,                 -- when its expiry was noticed; a job deletes what it holds, the row stays
    ADD COLUMN partial            boolean NOT NULL DEFAULT false,  -- the good pages of a bad document are indexed
    ADD COLUMN deleted_at         timestamptz;                 -- hidden from then on; a job deletes its rows
CREATE INDEX vector_stores_recent ON vector_stores (organisation, created_at, id);
CREATE INDEX vector_stores_expire ON vector_stores (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE file_batches (
    organisation  text NOT NULL,
    id            text NOT NULL,                               -- vsfb_...
    vector_store  text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    cancelled_at  timestamptz,
    PRIMARY KEY (organisation, id),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE
);

CREATE TABLE vector_store_files (
    organisation       text NOT NULL,
    vector_store       text NOT NULL,
    file               text NOT NULL,
    document           text NOT NULL,                          -- records.document_id(organisation, vector_store, file)
    status             text NOT NULL CHECK (status IN ('in_progress', 'completed', 'cancelled', 'failed')),
    error_code         text,                                   -- server_error, unsupported_file, invalid_file
    error              text,
    attributes         jsonb NOT NULL DEFAULT '{}',
    chunking_strategy  jsonb,                                  -- null: the store's
    job                text NOT NULL,                          -- the last one about it
    batch              text,                                   -- the last one it came with
    usage_bytes        bigint NOT NULL DEFAULT 0,
    failed_pages       integer[] NOT NULL DEFAULT '{}',        -- of a document that is indexed in part
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, vector_store, file),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, file) REFERENCES files (organisation, id) ON DELETE CASCADE
);
CREATE INDEX vector_store_files_recent ON vector_store_files (organisation, vector_store, created_at, file);
CREATE INDEX vector_store_files_batch ON vector_store_files (organisation, batch) WHERE batch IS NOT NULL;
CREATE INDEX vector_store_files_file ON vector_store_files (organisation, file);
CREATE INDEX vector_store_files_job ON vector_store_files (organisation, job);
CREATE INDEX vector_store_files_status ON vector_store_files (organisation, vector_store, status) INCLUDE (usage_bytes);

-- Whoever ends a job (its worker, somebody who cancels it, the rescue of a dead worker's jobs) or queues it again: what is attached
-- says so in the same transaction. Success is its worker's to record, with what was found.
CREATE FUNCTION attached_file_follows_its_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vector_store_files SET
        status = CASE NEW.state WHEN 'failed' THEN 'failed' WHEN 'cancelled' THEN 'cancelled' ELSE 'in_progress' END,
        error = CASE NEW.state WHEN 'failed' THEN NEW.error END,
        error_code = CASE WHEN NEW.state <> 'failed' THEN NULL
            WHEN NEW.error_code = 'unsupported' THEN 'unsupported_file'
            WHEN NEW.error_code IN ('empty', 'needs_ocr', 'encrypted', 'corrupt', 'too_large') THEN 'invalid_file'
            ELSE 'server_error' END
    WHERE organisation = NEW.organisation AND job = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER attached_file_follows_its_job AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NEW.state IN ('failed', 'cancelled', 'queued'))
EXECUTE FUNCTION attached_file_follows_its_job();
