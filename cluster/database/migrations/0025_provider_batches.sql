-- Batches at a remote provider's own Batch API, which `python -m data_jobs.ingest --provider-batch` submits.
-- A row is committed before anything is sent, so no submitted batch is forgotten and paid twice.
CREATE TABLE provider_batches (
    organisation  text NOT NULL,
    vector_store  text NOT NULL,
    id            text NOT NULL,                               -- ours; the provider keeps it in the metadata
    number        int NOT NULL,                                -- counts the store's batches from 1
    inputs        int NOT NULL,
    tokens        bigint NOT NULL,                             -- by our own count
    provider_id   text,                                        -- null: not known to exist at the provider
    status        text NOT NULL,                               -- as the provider names it; 'sealed' before
    error         text,                                        -- why the provider refused the whole batch
    tokens_used   bigint,                                      -- as the provider reports it
    created_at    timestamptz NOT NULL DEFAULT now(),
    submitted_at  timestamptz,
    closed_at     timestamptz,                                 -- null: its answers are not collected
    PRIMARY KEY (organisation, vector_store, id),
    UNIQUE (organisation, vector_store, number),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE
);

-- A chunk that is embedded in such a batch. The row is deleted once the chunk's document is written.
CREATE TABLE provider_batch_inputs (
    organisation  text NOT NULL,
    vector_store  text NOT NULL,
    id            text NOT NULL,                               -- id of the chunk; the request's custom_id
    document      text NOT NULL,
    text          text NOT NULL,
    tokens        int NOT NULL,
    bytes         int NOT NULL,                                -- of the text as a JSON string
    attempts      int NOT NULL DEFAULT 0,                      -- batches that ended without an answer to it
    batch         text,                                        -- null: waits to be put into a batch
    vector        bytea,                                       -- float32, little-endian
    error         text,                                        -- why it can have no vector
    PRIMARY KEY (organisation, vector_store, id),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, vector_store, batch) REFERENCES provider_batches (organisation, vector_store, id)
);
CREATE INDEX provider_batch_inputs_document ON provider_batch_inputs (organisation, vector_store, document, id);
CREATE INDEX provider_batch_inputs_batch ON provider_batch_inputs (organisation, vector_store, batch);
