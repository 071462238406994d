-- Webhooks of organisations: endpoints, their secrets, events, and the deliveries of events (cluster/webhooks).

CREATE TABLE webhook_endpoints (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- we_...
    url              text NOT NULL,
    name             text NOT NULL DEFAULT '',
    event_types      text[] NOT NULL,
    enabled          boolean NOT NULL DEFAULT true,
    disabled_reason  text,                                     -- null: enabled, or disabled by a person
    failures         integer NOT NULL DEFAULT 0,               -- failed attempts since the last success
    failing_since    timestamptz,                              -- the first of these attempts
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    UNIQUE (organisation, url)
);

CREATE TABLE webhook_secrets (
    organisation     text NOT NULL,
    endpoint         text NOT NULL,
    number           bigint GENERATED ALWAYS AS IDENTITY,      -- a later secret has a higher number
    token            text NOT NULL,                            -- encrypted with CLUSTER_SECRET_KEY (Fernet)
    hint             text NOT NULL,                            -- the end of the secret, for people
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz,                              -- null: the current secret
    PRIMARY KEY (organisation, endpoint, number),
    FOREIGN KEY (organisation, endpoint) REFERENCES webhook_endpoints (organisation, id) ON DELETE CASCADE
);

-- Only events to which an endpoint subscribes have a row.
CREATE TABLE webhook_events (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- evt_...
    type             text NOT NULL,
    data             jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id)
);

CREATE TABLE webhook_deliveries (
    organisation     text NOT NULL,
    endpoint         text NOT NULL,
    event            text NOT NULL,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'succeeded', 'failed')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    since            timestamptz NOT NULL DEFAULT now(),       -- attempts end a time limit after this
    due_at           timestamptz NOT NULL DEFAULT now(),       -- the next attempt; with a holder: the end of its lease
    holder           text,                                     -- the attempt that runs now
    attempts         integer NOT NULL DEFAULT 0,               -- after "since"
    last_attempt_at  timestamptz,
    response_status  integer,                                  -- of the last attempt; null: no answer
    error            text,                                     -- of the last attempt
    ended_at         timestamptz,
    PRIMARY KEY (organisation, endpoint, event),
    FOREIGN KEY (organisation, endpoint) REFERENCES webhook_endpoints (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, event) REFERENCES webhook_events (organisation, id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (organisation, endpoint, due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_since ON webhook_deliveries (since) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_recent ON webhook_deliveries (organisation, endpoint, created_at, event);
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (organisation, event);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

SELECT refuse_rows_of_deleted_organisations('webhook_endpoints');
SELECT refuse_rows_of_deleted_organisations('webhook_events');

-- Records an event and its deliveries in the caller's transaction. Returns the event's id, or null if no enabled
-- endpoint of the organisation subscribes to the type or the organisation is deleted.
CREATE FUNCTION record_webhook_event(of_organisation text, of_type text, of_data jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    new_id text;
BEGIN
    IF NOT EXISTS (SELECT FROM webhook_endpoints
                   WHERE organisation = of_organisation AND enabled AND of_type = ANY (event_types))
       OR EXISTS (SELECT FROM organisations WHERE id = of_organisation AND deleted_at IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    new_id := 'evt_' || replace(gen_random_uuid()::text, '-', '');
    INSERT INTO webhook_events (organisation, id, type, data) VALUES (of_organisation, new_id, of_type, of_data);
    INSERT INTO webhook_deliveries (organisation, endpoint, event)
    SELECT organisation, id, new_id FROM webhook_endpoints
    WHERE organisation = of_organisation AND enabled AND of_type = ANY (event_types);
    RETURN new_id;
END $$;

-- Triggers record the end of jobs, batches and attached files, so that no code that ends one of them can forget it.
CREATE FUNCTION webhook_event_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about jsonb := jsonb_build_object('id', NEW.id, 'kind', NEW.kind);
BEGIN
    PERFORM record_webhook_event(NEW.organisation, 'job.' || NEW.state, about);
    IF NEW.state = 'failed' AND NEW.attempt >= NEW.last_attempt THEN
        PERFORM record_webhook_event(NEW.organisation, 'job.dead_lettered', about);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER webhook_event_of_job AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NEW.state IN ('succeeded', 'failed', 'cancelled'))
EXECUTE FUNCTION webhook_event_of_job();

CREATE FUNCTION webhook_event_of_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM record_webhook_event(NEW.organisation, 'batch.' || NEW.status, jsonb_build_object('id', NEW.id));
    RETURN NULL;
END $$;
CREATE TRIGGER webhook_event_of_batch AFTER UPDATE OF status ON batches FOR EACH ROW
WHEN (NEW.status <> OLD.status AND NEW.status IN ('completed', 'failed', 'expired', 'cancelled'))
EXECUTE FUNCTION webhook_event_of_batch();

CREATE FUNCTION webhook_event_of_attached_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM record_webhook_event(NEW.organisation, 'vector_store.file.' || NEW.status,
        jsonb_build_object('id', NEW.file, 'vector_store_id', NEW.vector_store));
    RETURN NULL;
END $$;
CREATE TRIGGER webhook_event_of_attached_file AFTER UPDATE OF status ON vector_store_files FOR EACH ROW
WHEN (NEW.status <> OLD.status AND NEW.status IN ('completed', 'failed'))
EXECUTE FUNCTION webhook_event_of_attached_file();
