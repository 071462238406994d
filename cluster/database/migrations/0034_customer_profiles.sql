-- Profiles of customers, models of their next purchase, and segments (cluster/profiles).
-- docs/profiles.md describes each table and column.

ALTER TABLE customers
    ADD COLUMN profiling boolean,                              -- whether the customer agrees; null: not said
    ADD COLUMN profiling_at timestamptz;                       -- time of the event or request that said it

CREATE TABLE customer_profiles (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    customer         text NOT NULL,
    attributes       jsonb NOT NULL DEFAULT '{}',              -- numbers, texts and booleans by name, for filters
    parts            jsonb NOT NULL DEFAULT '{}',              -- every value by part and name, with n and evidence
    computed_at      timestamptz NOT NULL,                     -- when the latest part was computed
    PRIMARY KEY (organisation, customer),
    FOREIGN KEY (organisation, customer) REFERENCES customers (organisation, id) ON DELETE CASCADE
);

-- A customer who refuses has no profile from this moment on.
CREATE FUNCTION delete_refused_profile() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM customer_profiles WHERE organisation = NEW.organisation AND customer = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER delete_refused_profile AFTER UPDATE OF profiling ON customers FOR EACH ROW
WHEN (NEW.profiling IS FALSE AND OLD.profiling IS DISTINCT FROM false) EXECUTE FUNCTION delete_refused_profile();

-- What is learned about the purchases of all customers together. It names no customer.
CREATE TABLE propensity_models (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    version          text NOT NULL,                            -- hash of the parameters
    trained_at       timestamptz NOT NULL,
    state            text NOT NULL CHECK (state IN ('trained', 'insufficient_data')),
    parameters       jsonb,                                    -- null: insufficient data
    report           jsonb NOT NULL,                           -- validation, calibration and drivers, or what is missing
    PRIMARY KEY (organisation, version)
);
CREATE INDEX propensity_models_trained ON propensity_models (organisation, trained_at);

CREATE TABLE customer_segments (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- segment_...
    name             text NOT NULL,
    filters          jsonb NOT NULL,                           -- on the attributes of profiles
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    UNIQUE (organisation, name)
);
CREATE INDEX customer_segments_created ON customer_segments (organisation, created_at, id);
