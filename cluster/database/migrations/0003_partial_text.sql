-- Documents of which only part could be read, and what was found out while reading.

ALTER TABLE documents ADD COLUMN facts jsonb NOT NULL DEFAULT '{}';  -- of the version that is searchable now
