-- Organisations, vector stores, jobs and documents. Every row carries its organisation.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE organisations (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO organisations (id, name) VALUES ('default', 'Default organisation');

CREATE TABLE vector_collections (
    name        text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    dim         integer NOT NULL CHECK (dim BETWEEN 1 AND 16000),
    metric      text NOT NULL CHECK (metric IN ('cosine', 'dot', 'euclidean')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE vector_stores (
    organisation    text NOT NULL REFERENCES organisations,
    id              text NOT NULL,
    name            text NOT NULL,
    collection      text NOT NULL,
    fingerprint_id  text NOT NULL,           -- vectors of another fingerprint never enter this store
    fingerprint     jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id)
);
CREATE INDEX vector_stores_name ON vector_stores (organisation, name);

CREATE TABLE jobs (
    organisation  text NOT NULL REFERENCES organisations,
    id            text NOT NULL,
    kind          text NOT NULL,
    state         text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    input         jsonb NOT NULL,
    result        jsonb,
    error         text,
    done          bigint NOT NULL DEFAULT 0,
    total         bigint,
    unit          text NOT NULL DEFAULT 'documents',
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX jobs_recent ON jobs (organisation, created_at DESC);

CREATE TABLE documents (
    organisation      text NOT NULL,
    id                text NOT NULL,
    vector_store      text NOT NULL,
    source            text NOT NULL,         -- where it was read from; the id is made from it
    source_stamp      text,                  -- size and modification time, or etag, at the last attempt
    -- the last attempt
    outcome           text NOT NULL,
    detail            text NOT NULL DEFAULT '',
    attempted_hash    text,                  -- of the bytes read; null when they could not be read
    attempted_version text NOT NULL,         -- of the pipeline
    job               text,
    -- the version that is searchable now; null until a first attempt succeeds
    content_hash      text,
    pipeline_version  text,
    media_type        text,
    bytes             bigint,
    pages             integer,
    pages_with_text   integer,
    chunks            integer NOT NULL DEFAULT 0,
    tokens            bigint NOT NULL DEFAULT 0,
    keywords          text[] NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE
);
CREATE INDEX documents_store ON documents (organisation, vector_store, outcome);
