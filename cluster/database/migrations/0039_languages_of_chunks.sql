-- The words of a chunk are made with the text search configuration of its language (cluster/vector_index/text_configurations.py), no longer
-- with the English one for all. Nothing is rewritten here: the columns get a default, and upkeep renews the rows of words_version 1.

-- The configurations that chunks of each store have. A search makes its words with each of them.
CREATE TABLE vector_store_text_configurations (
    organisation   text COLLATE "C" NOT NULL,
    vector_store   text COLLATE "C" NOT NULL,
    configuration  text COLLATE "C" NOT NULL,
    PRIMARY KEY (organisation, vector_store, configuration)
);
INSERT INTO vector_store_text_configurations SELECT organisation, id, 'english' FROM vector_stores;

-- Called for each chunk table when a collection is made. A process of the release before makes tables without the column.
CREATE OR REPLACE FUNCTION count_changes_of(chunk_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS text_configuration text COLLATE "C" NOT NULL DEFAULT ''english''', chunk_table);
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
