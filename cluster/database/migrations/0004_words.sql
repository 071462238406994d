-- The lexemes of a chunk are made from words that the code spells (cluster/vector_index/words.py), no longer from the text by the server's
-- locale. Nothing is rewritten here: columns change in the catalogue, and rows of words_version 0 keep their lexemes until upkeep renews them.

-- Every row of the collection is of this version or a later one, except those that older code wrote since.
ALTER TABLE vector_collections ADD COLUMN words_version integer NOT NULL DEFAULT 0;

DO $$
DECLARE
    collection text;
BEGIN
    FOR collection IN SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN words DROP EXPRESSION, ADD COLUMN words_version smallint NOT NULL DEFAULT 0',
            'vectors_' || collection);
    END LOOP;
END
$$;
