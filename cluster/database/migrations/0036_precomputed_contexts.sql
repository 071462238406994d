-- Sources of an agent's frequent questions, found before they are asked (cluster/precomputed).

CREATE TABLE precomputed_contexts (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    agent         text NOT NULL,
    id            text NOT NULL,                  -- digest of the key, the versions and the vector
    key           text NOT NULL,                  -- digest of the stores, of the options of the search and of the model
    versions      text NOT NULL,                  -- of the stores; the row is used only while they have these versions
    question      text,                           -- null: the question comes from customers' messages, and its text is not kept
    vector        bytea NOT NULL,                 -- float32, little-endian, of unit length
    chunks        jsonb NOT NULL,                 -- ids, stores and scores; texts are read from the stores
    seconds       double precision NOT NULL,      -- that the search took
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, agent, id),
    FOREIGN KEY (organisation, agent) REFERENCES agents (organisation, id) ON DELETE CASCADE
);
CREATE INDEX precomputed_contexts_key ON precomputed_contexts (organisation, key);
