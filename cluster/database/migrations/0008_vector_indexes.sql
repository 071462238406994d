-- A store names the index that holds its vectors. Vectors outside our Postgres are written before their chunks become current, and
-- changed or deleted after; the outbox lists the ids for which index and chunk table may differ. Nothing is rewritten here.

ALTER TABLE vector_stores ADD COLUMN index text NOT NULL DEFAULT 'pgvector';

CREATE TABLE vector_outbox (
    organisation  text COLLATE "C" NOT NULL,
    vector_store  text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,   -- of a chunk; '' stands for every vector of the store
    index         text NOT NULL,
    collection    text NOT NULL,
    -- due: to be reconciled from due_at on; writing: a writer holds the id until due_at; sending: a sender holds it until due_at
    state         text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'writing', 'sending')),
    holder        text,
    again         boolean NOT NULL DEFAULT false,   -- the chunk changed while its state was sent
    attempts      integer NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, vector_store, id)
);
CREATE INDEX vector_outbox_due ON vector_outbox (due_at);

-- Rows of stores whose vectors lie elsewhere have no vector here.
DO $$
DECLARE
    collection text;
BEGIN
    FOR collection IN SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN embedding DROP NOT NULL', 'vectors_' || collection);
    END LOOP;
END
$$;
