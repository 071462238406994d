-- API keys of organisations, the fields of an organisation's row, the audit log, and the deletion of an organisation.

-- The number of changes to organisations and keys. Each process compares this number with the one that it has read, twice a second.
CREATE TABLE access_version (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version   bigint NOT NULL
);
INSERT INTO access_version (version) VALUES (1);

ALTER TABLE organisations
    ADD COLUMN time_zone    text NOT NULL DEFAULT 'UTC',                                          -- an IANA name
    ADD COLUMN billing_day  smallint NOT NULL DEFAULT 1 CHECK (billing_day BETWEEN 1 AND 28),     -- day of the month on which a period begins
    ADD COLUMN weight       double precision CHECK (weight > 0 AND weight < 'Infinity'),          -- null: CLUSTER_ORGANISATION_WEIGHTS
    ADD COLUMN deleted_at   timestamptz,                                                          -- when the deletion was requested
    ADD COLUMN deletion_job text,                                                                 -- a job of the organisation 'system'
    ADD COLUMN version      bigint NOT NULL DEFAULT 1;                                            -- access_version at the last change
CREATE INDEX organisations_version ON organisations (version);

CREATE TABLE api_keys (
    organisation  text NOT NULL REFERENCES organisations,
    id            text NOT NULL,                               -- key_...
    name          text NOT NULL,
    prefix        text NOT NULL,                               -- the beginning of the key, by which people recognise it
    hash          bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),   -- SHA-256 of the key
    scopes        text[] NOT NULL CHECK (scopes <> '{}' AND scopes <@ ARRAY['read', 'write', 'admin']),
    models        text[],                                      -- the only models that the key may use; null: all
    stores        text[],                                      -- ids of the only vector stores that the key may use; null: all
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by    text NOT NULL,
    expires_at    timestamptz,
    last_used_at  timestamptz,                                 -- exact to a minute
    revoked_at    timestamptz,
    version       bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX api_keys_version ON api_keys (version);
CREATE INDEX api_keys_created ON api_keys (organisation, created_at, id);

-- The row of access_version stays locked until the transaction ends. So a version that a process can read has no earlier version that
-- is committed later.
CREATE FUNCTION count_access_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE access_version SET version = version + 1 RETURNING version INTO NEW.version;
    RETURN NEW;
END
$$;
CREATE TRIGGER organisation_changed
BEFORE INSERT OR UPDATE OF name, time_zone, billing_day, weight, deleted_at ON organisations
FOR EACH ROW EXECUTE FUNCTION count_access_change();
CREATE TRIGGER api_key_changed
BEFORE INSERT OR UPDATE OF name, hash, scopes, models, stores, expires_at, revoked_at ON api_keys
FOR EACH ROW EXECUTE FUNCTION count_access_change();

-- Who changed what. It has no foreign key, because it outlives organisations.
CREATE TABLE audit_events (
    organisation  text NOT NULL,                               -- whose thing was changed
    id            text NOT NULL,                               -- audit_...
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    type          text NOT NULL,                               -- such as api_key.created
    target        text NOT NULL,                               -- id of the thing
    actor_kind    text NOT NULL,                               -- key, operator, keyless, command, cluster
    actor         text NOT NULL,                               -- id of the key, name of the operating system's user, ...
    address       text,                                        -- from which the request came; null: no request
    request       text,                                        -- id of the request
    details       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (organisation, id)
);
CREATE INDEX audit_events_at ON audit_events (organisation, at, id);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_events is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- A deleted organisation keeps its row, because its usage names it. These triggers refuse new rows of it. A later migration calls
-- refuse_rows_of_deleted_organisations for each new table with a foreign key to organisations.
CREATE FUNCTION refuse_row_of_deleted_organisation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM organisations WHERE id = NEW.organisation AND deleted_at IS NOT NULL) THEN
        RAISE EXCEPTION 'organisation % is deleted', NEW.organisation USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION refuse_rows_of_deleted_organisations(of_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER organisation_is_not_deleted BEFORE INSERT ON %s
        FOR EACH ROW EXECUTE FUNCTION refuse_row_of_deleted_organisation()', of_table);
END
$$;

DO $$
DECLARE
    referencing regclass;
BEGIN
    -- Usage is recorded shortly after the work, and bills need it.
    FOR referencing IN
        SELECT conrelid::regclass FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'organisations'::regclass AND conrelid <> 'usage_events'::regclass
        ORDER BY conrelid::regclass::text
    LOOP
        PERFORM refuse_rows_of_deleted_organisations(referencing);
    END LOOP;
END
$$;
