-- Definitions of agents, the knowledge of agents, and the rows of bulk imports of agents (cluster/agents).

ALTER TABLE agents
    ADD COLUMN definition   jsonb,                             -- AgentDefinition without external_id, name and model; null: only events name the agent
    ADD COLUMN config_hash  text,                              -- digest of the whole definition with the contents of its knowledge
    ADD COLUMN updated_at   timestamptz,                       -- last change of the definition; null: it has none
    ADD COLUMN deleted_at   timestamptz;                       -- hidden from then on; the statistics keep the row

-- One content that agents know. Files with the same bytes are the same source.
CREATE TABLE agent_sources (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id            text NOT NULL,                               -- src_..., made from the SHA-256 of the bytes
    file          text NOT NULL,                               -- the file with these bytes that is attached to the stores
    owned         boolean NOT NULL,                            -- true: the file was made for agents, and goes when no agent knows it
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    FOREIGN KEY (organisation, file) REFERENCES files (organisation, id) ON DELETE CASCADE
);
CREATE INDEX agent_sources_file ON agent_sources (organisation, file);

-- Vector stores that hold sources of agents. Such a store is deleted when no agent and no open import uses it.
CREATE TABLE agent_stores (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    vector_store  text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, vector_store),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE
);

-- The sources of each agent, and the store in which the agent finds each of them. All agents of a store know all sources in it.
CREATE TABLE agent_knowledge (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    agent         text NOT NULL,
    source        text NOT NULL,
    vector_store  text NOT NULL,
    PRIMARY KEY (organisation, agent, source),
    FOREIGN KEY (organisation, agent) REFERENCES agents (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, source) REFERENCES agent_sources (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, vector_store) REFERENCES agent_stores (organisation, vector_store) ON DELETE CASCADE
);
CREATE INDEX agent_knowledge_source ON agent_knowledge (organisation, source);
CREATE INDEX agent_knowledge_store ON agent_knowledge (organisation, vector_store);

-- One row for each agent of a bulk import. The import's job fills in the outcome.
CREATE TABLE agent_import_rows (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    job           text NOT NULL,
    number        integer NOT NULL,                            -- position in the file or request, from 1
    line          integer,                                     -- line of the file; null: unknown
    agent         text NOT NULL,                               -- agent_..., made from the external id
    definition    jsonb NOT NULL,                              -- the whole AgentDefinition
    config_hash   text NOT NULL,
    sources       jsonb NOT NULL DEFAULT '[]',                 -- [{"id": "src_...", "file": "file-...", "owned": false}, ...]
    knowledge     jsonb,                                       -- {"src_...": "vs_..."}; null: not planned yet
    outcome       text CHECK (outcome IN ('created', 'updated', 'unchanged', 'failed')),  -- null: not yet
    error         text,                                        -- why the row failed
    PRIMARY KEY (organisation, job, number),
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);
CREATE INDEX agent_import_rows_open ON agent_import_rows (organisation, agent) WHERE outcome IS NULL;
