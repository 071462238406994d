-- Batches of requests: a file with one request on each line becomes a file with the answers (cluster/documents/batches).

CREATE TABLE batches (
    organisation       text NOT NULL REFERENCES organisations,
    id                 text NOT NULL,                          -- batch_...
    endpoint           text NOT NULL,                          -- the path of every request, such as /v1/embeddings
    input_file         text NOT NULL,
    input_sha256       text NOT NULL,                          -- the blob stays until the batch has ended, even if the file is deleted
    completion_window  text NOT NULL,
    metadata           jsonb,
    output_lifetime_s  bigint,                                 -- of the output and error files; null: they do not expire
    job                text NOT NULL,
    -- 'cancelling' is not stored: it is an open batch with cancelling_at, or whose job was cancelled.
    status             text NOT NULL DEFAULT 'validating'
        CHECK (status IN ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'cancelled')),
    errors             jsonb NOT NULL DEFAULT '[]',            -- why the batch failed: code, message, param, line
    fingerprints       jsonb NOT NULL DEFAULT '{}',            -- name of each model -> id of its fingerprint when the batch began
    total              integer NOT NULL DEFAULT 0,             -- requests in the input file
    completed          integer NOT NULL DEFAULT 0,
    failed             integer NOT NULL DEFAULT 0,
    next_line          integer NOT NULL DEFAULT 1,             -- the first line of the input file that no part has
    tokens             jsonb NOT NULL DEFAULT '{}',            -- name of each model -> tokens that it read
    output_file        text,
    error_file         text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz NOT NULL,                   -- the end of the completion window
    in_progress_at     timestamptz,
    finalizing_at      timestamptz,
    completed_at       timestamptz,
    failed_at          timestamptz,
    expired_at         timestamptz,
    cancelling_at      timestamptz,
    cancelled_at       timestamptz,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX batches_created ON batches (organisation, created_at, id);
CREATE INDEX batches_open ON batches (expires_at) WHERE status IN ('validating', 'in_progress', 'finalizing');
CREATE INDEX batches_input ON batches (organisation, input_sha256) WHERE status IN ('validating', 'in_progress', 'finalizing');

-- What is done of an open batch: the answers of consecutive lines, as blobs. A new attempt continues after the last part.
CREATE TABLE batch_parts (
    organisation   text NOT NULL,
    batch          text NOT NULL,
    first_line     integer NOT NULL,
    output_sha256  text,                                       -- null: no request of the part succeeded
    error_sha256   text,                                       -- null: no request of the part failed
    PRIMARY KEY (organisation, batch, first_line),
    FOREIGN KEY (organisation, batch) REFERENCES batches (organisation, id) ON DELETE CASCADE
);
CREATE INDEX batch_parts_output ON batch_parts (organisation, output_sha256);
CREATE INDEX batch_parts_error ON batch_parts (organisation, error_sha256);
