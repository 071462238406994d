-- What remote providers report for each request, and what they ask for it.

ALTER TABLE usage_events ADD COLUMN cost numeric(20, 12) CHECK (cost >= 0);  -- in US dollars; null: not known
ALTER TABLE usage_events DROP CONSTRAINT usage_events_source_check;
ALTER TABLE usage_events ADD CONSTRAINT usage_events_source_check
    CHECK (source IN ('http', 'search', 'ingest', 'job', 'provider'));
