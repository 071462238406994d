-- Usage is recorded on every path that embeds: which model computed it, and what asked for it.

ALTER TABLE usage_events
    ADD COLUMN model   text,                                   -- null in events from before this migration
    ADD COLUMN source  text NOT NULL DEFAULT 'job' CHECK (source IN ('http', 'search', 'ingest', 'job'));
ALTER TABLE usage_events ALTER COLUMN source DROP DEFAULT;
