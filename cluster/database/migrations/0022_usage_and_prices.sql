-- Usage by key and agent, and prices with a validity (cluster/usage). docs/usage.md describes kinds, sources and units.

ALTER TABLE usage_events
    ADD COLUMN key    text,                                    -- id of the API key that asked for the work; null: no key
    ADD COLUMN agent  text;                                    -- id of the platform's agent; null: no agent
ALTER TABLE usage_events DROP CONSTRAINT usage_events_source_check;
ALTER TABLE usage_events ADD CONSTRAINT usage_events_source_check
    CHECK (source IN ('http', 'search', 'ingest', 'job', 'provider', 'batch', 'chat', 'storage'));

ALTER TABLE jobs ADD COLUMN key text;                          -- id of the API key that asked for the job; null: no key

-- An exclusion constraint compares ranges. A range of one text stands for the text.
CREATE TYPE text_range AS RANGE (subtype = text, collation = "C");

CREATE TABLE usage_prices (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation  text REFERENCES organisations,               -- null: all organisations
    kind          text NOT NULL CHECK (kind <> ''),            -- of the usage events
    model         text CHECK (model <> ''),                    -- null: all models, and events without a model
    price         numeric(30, 18) NOT NULL CHECK (price >= 0), -- US dollars for one unit (token, page, byte, ...)
    valid_from    timestamptz NOT NULL,
    valid_to      timestamptz,                                 -- the first instant after the period; null: no end
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (valid_from < valid_to),
    -- A price changes at a full hour in UTC only, so each hour has one price, and hourly sums can be priced.
    CHECK (extract(epoch FROM valid_from) % 3600 = 0 AND extract(epoch FROM valid_to) % 3600 = 0),
    CONSTRAINT usage_prices_do_not_overlap EXCLUDE USING gist (
        text_range(coalesce(organisation, ''), coalesce(organisation, ''), '[]') WITH &&,
        text_range(kind, kind, '[]') WITH &&,
        text_range(coalesce(model, ''), coalesce(model, ''), '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&
    )
);
CREATE INDEX usage_prices_kind ON usage_prices (kind, valid_from);

-- The price of one unit at this time; null: no price. An organisation's own price comes before the price for all
-- organisations. Among these, the price of the model comes before the price for all models.
CREATE FUNCTION usage_price(of_organisation text, of_kind text, of_model text, of_time timestamptz) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT price FROM usage_prices
    WHERE kind = of_kind AND valid_from <= of_time AND (valid_to IS NULL OR of_time < valid_to)
        AND (organisation IS NULL OR organisation = of_organisation) AND (model IS NULL OR model = of_model)
    ORDER BY organisation NULLS LAST, model NULLS LAST
    LIMIT 1
$$;

-- The cost of usage in US dollars: a price comes before the cost that the events recorded. Null: neither is known. The usage may
-- be a sum over events of one hour (in UTC) with the same organisation, kind and model.
CREATE FUNCTION usage_cost(
    of_organisation text, of_kind text, of_model text, of_time timestamptz, quantity numeric, recorded_cost numeric
) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(quantity * usage_price(of_organisation, of_kind, of_model, of_time), recorded_cost)
$$;
