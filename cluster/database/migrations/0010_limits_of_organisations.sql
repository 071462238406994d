-- The limits of an organisation stand in its row. Where a limit is null, the setting of the same meaning holds.

ALTER TABLE organisations RENAME COLUMN slots TO concurrency_limit;
ALTER TABLE organisations
    ADD COLUMN files_limit  bigint CHECK (files_limit >= 0),   -- most files; 0: no limit; null: CLUSTER_ORGANISATION_FILES
    ADD COLUMN bytes_limit  bigint CHECK (bytes_limit >= 0),   -- most bytes of files; 0: no limit; null: CLUSTER_ORGANISATION_BYTES
    -- Workers and replicas of the release before read this name. They continue during a rolling update.
    ADD COLUMN slots        integer GENERATED ALWAYS AS (concurrency_limit) STORED;
COMMENT ON COLUMN organisations.concurrency_limit IS
    'Most jobs of one priority class that run at once for the organisation; null: no limit.';
