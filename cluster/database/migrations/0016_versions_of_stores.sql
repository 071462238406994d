-- The version of a vector store: how many changes to what its searches find were committed (cluster/documents/vector_stores/store_versions.py).
-- Triggers count, so a change counts whatever code makes it, also code of the release before during a rolling update.

-- The sum over a store's slots is its version. A writer takes a slot that no other transaction holds, so writers never wait for each other,
-- and a store has no more slots than it once had writers at the same time.
CREATE TABLE vector_store_changes (
    organisation  text COLLATE "C" NOT NULL,
    vector_store  text COLLATE "C" NOT NULL,
    slot          bigint GENERATED ALWAYS AS IDENTITY,
    changes       bigint NOT NULL DEFAULT 1,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, vector_store, slot)
) WITH (fillfactor = 25);   -- room for new row versions on the same page, so that updates touch no index

CREATE FUNCTION vector_store_changed(of_organisation text, of_store text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vector_store_changes SET changes = changes + 1, changed_at = clock_timestamp()
    WHERE organisation = of_organisation AND vector_store = of_store AND slot = (
        SELECT slot FROM vector_store_changes
        WHERE organisation = of_organisation AND vector_store = of_store
        ORDER BY slot LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO vector_store_changes (organisation, vector_store) VALUES (of_organisation, of_store);
    END IF;
END
$$;

CREATE FUNCTION chunks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM vector_store_changed(organisation, vector_store)
    FROM (SELECT DISTINCT organisation, vector_store FROM changed) AS stores;
    RETURN NULL;
END
$$;

-- Called for each chunk table, here and when a collection is made.
CREATE FUNCTION count_changes_of(chunk_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER chunks_inserted AFTER INSERT ON %s REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION chunks_changed()', chunk_table);
    EXECUTE format('CREATE OR REPLACE TRIGGER chunks_updated AFTER UPDATE ON %s REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION chunks_changed()', chunk_table);
    EXECUTE format('CREATE OR REPLACE TRIGGER chunks_deleted AFTER DELETE ON %s REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION chunks_changed()', chunk_table);
END
$$;

DO $$
DECLARE
    collection text;
BEGIN
    FOR collection IN SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name LOOP
        PERFORM count_changes_of(('vectors_' || collection)::regclass);
    END LOOP;
END
$$;
