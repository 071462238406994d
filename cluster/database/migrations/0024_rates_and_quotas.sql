-- Rates and quotas of organisations and of API keys (docs/limits.md, docs/decisions/042-rates-and-quotas.md).

ALTER TABLE organisations
    ADD COLUMN requests_per_minute bigint CHECK (requests_per_minute >= 0),  -- 0: no limit; null: CLUSTER_ORGANISATION_REQUESTS_PER_MINUTE
    ADD COLUMN tokens_per_minute   bigint CHECK (tokens_per_minute >= 0),    -- 0: no limit; null: CLUSTER_ORGANISATION_TOKENS_PER_MINUTE
    ADD COLUMN jobs_limit          bigint CHECK (jobs_limit >= 0),           -- maximum number of unfinished jobs; 0 or null: no limit
    ADD COLUMN vectors_limit       bigint CHECK (vectors_limit >= 0);        -- maximum number of stored vectors; 0 or null: no limit

-- A null is no limit of the key. The limits of its organisation apply as well.
ALTER TABLE api_keys
    ADD COLUMN requests_per_minute bigint CHECK (requests_per_minute > 0),
    ADD COLUMN tokens_per_minute   bigint CHECK (tokens_per_minute > 0),
    ADD COLUMN jobs_limit          bigint CHECK (jobs_limit > 0),
    ADD COLUMN files_limit         bigint CHECK (files_limit > 0),
    ADD COLUMN bytes_limit         bigint CHECK (bytes_limit > 0),
    ADD COLUMN vectors_limit       bigint CHECK (vectors_limit > 0);

-- Replicas read changed rates within a second, as they read changed keys.
CREATE OR REPLACE TRIGGER organisation_changed
BEFORE INSERT OR UPDATE OF name, time_zone, billing_day, weight, deleted_at, requests_per_minute, tokens_per_minute ON organisations
FOR EACH ROW EXECUTE FUNCTION count_access_change();
CREATE OR REPLACE TRIGGER api_key_changed
BEFORE INSERT OR UPDATE OF name, hash, scopes, models, stores, expires_at, revoked_at, requests_per_minute, tokens_per_minute ON api_keys
FOR EACH ROW EXECUTE FUNCTION count_access_change();

-- The key that created a file, an upload or a vector store; null: no key. Quotas of keys count by it.
ALTER TABLE files ADD COLUMN key text;
ALTER TABLE uploads ADD COLUMN key text;
ALTER TABLE vector_stores ADD COLUMN key text;
CREATE INDEX files_key ON files (organisation, key) INCLUDE (bytes) WHERE key IS NOT NULL;
CREATE INDEX jobs_unfinished_of_key ON jobs (organisation, key) WHERE key IS NOT NULL AND state IN ('queued', 'running');

-- What was admitted within the last minute, in slices (cluster/rate_limits/shared_rate.sql). Each replica takes slices, so a row stands
-- for many requests. The rows expire, and there is no foreign key, because requests wait for these writes.
CREATE TABLE rate_slices (
    rate          text COLLATE "C" NOT NULL,                   -- organisation, key and resource, such as acme/key_1/tokens
    id            uuid NOT NULL,
    amount        bigint NOT NULL CHECK (amount >= 0),
    counts_until  timestamptz NOT NULL,
    PRIMARY KEY (rate, id)
) WITH (fillfactor = 50);

-- Numbers of stored vectors, for organisations and keys that have a limit. Other organisations have no row here.
CREATE TABLE vector_quotas (
    organisation  text COLLATE "C" NOT NULL REFERENCES organisations,
    key           text COLLATE "C" NOT NULL,                   -- the vectors of the stores that this key created; '': of the organisation
    vectors_limit bigint NOT NULL,
    vectors       bigint NOT NULL,
    PRIMARY KEY (organisation, key)
);
SELECT refuse_rows_of_deleted_organisations('vector_quotas');

-- Adds the rows of one statement to the counts. The rows of vector_quotas stay locked until the transaction ends, so the writers of a
-- limited organisation commit one after the other, and their sum is exact.
CREATE FUNCTION add_vectors(of_organisation text, of_store text, more bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    quota record;
BEGIN
    FOR quota IN
        SELECT key, vectors_limit, vectors FROM vector_quotas
        WHERE organisation = of_organisation AND key IN ('', coalesce(
            (SELECT key FROM vector_stores WHERE organisation = of_organisation AND id = of_store), ''))
        ORDER BY key FOR NO KEY UPDATE
    LOOP
        IF more > 0 AND quota.vectors + more > quota.vectors_limit THEN
            RAISE EXCEPTION '% stores % vectors of at most % (vectors_limit), and this would add %; delete files or vectors that are no longer needed, or ask for a higher limit',
                CASE quota.key WHEN '' THEN 'organisation ' || of_organisation ELSE 'the API key ' || quota.key END,
                quota.vectors, quota.vectors_limit, more USING ERRCODE = 'EQ001';
        END IF;
        UPDATE vector_quotas SET vectors = vectors + more WHERE organisation = of_organisation AND key = quota.key;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION chunks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' AND EXISTS (SELECT FROM vector_quotas) THEN
        PERFORM add_vectors(organisation, vector_store, CASE TG_OP WHEN 'INSERT' THEN rows ELSE -rows END)
        FROM (SELECT organisation, vector_store, count(*) AS rows FROM changed GROUP BY organisation, vector_store
            ORDER BY organisation, vector_store) AS stores;
    END IF;
    PERFORM vector_store_changed(organisation, vector_store)
    FROM (SELECT DISTINCT organisation, vector_store FROM changed) AS stores;
    RETURN NULL;
END
$$;

-- Sets or removes (null) a limit. The first limit of an organisation or key counts the vectors that are stored, and waits for the
-- transactions that are writing vectors.
CREATE FUNCTION set_vector_quota(of_organisation text, of_key text, of_limit bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    collection text;
    total bigint := 0;
    part bigint;
BEGIN
    IF of_limit IS NULL THEN
        DELETE FROM vector_quotas WHERE organisation = of_organisation AND key = of_key;
        RETURN;
    END IF;
    UPDATE vector_quotas SET vectors_limit = of_limit WHERE organisation = of_organisation AND key = of_key;
    IF FOUND THEN
        RETURN;
    END IF;
    LOCK TABLE vector_collections IN SHARE MODE;               -- no chunk table is created until the transaction ends
    FOR collection IN SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name LOOP
        EXECUTE format('LOCK TABLE %I IN SHARE MODE', 'vectors_' || collection);
    END LOOP;
    FOR collection IN SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name LOOP
        EXECUTE format('SELECT count(*) FROM %I AS chunk WHERE organisation = $1 AND ($2 = '''' OR vector_store IN
            (SELECT id FROM vector_stores WHERE organisation = $1 AND key = $2))', 'vectors_' || collection)
            INTO part USING of_organisation, of_key;
        total := total + part;
    END LOOP;
    INSERT INTO vector_quotas (organisation, key, vectors_limit, vectors) VALUES (of_organisation, of_key, of_limit, total);
END
$$;
