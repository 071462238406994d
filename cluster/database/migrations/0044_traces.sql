-- The position in a trace at which a job was submitted (cluster.tracing), as a W3C traceparent of 55 characters.
-- Jobs that are older have none.
ALTER TABLE jobs ADD COLUMN traceparent text;
