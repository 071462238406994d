-- The built-in alerter (cluster/alerts): what processes report about themselves, open alerts, and messages about alerts.
-- These tables belong to the cluster and have no rows of organisations.

CREATE TABLE process_reports (
    process      text COLLATE "C" PRIMARY KEY,
    deployment   text NOT NULL,
    node         text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),  -- time of the first report
    reported_at  timestamptz NOT NULL DEFAULT now(),  -- time of the last report
    details      jsonb NOT NULL                       -- the other fields of ProcessReport
) WITH (fillfactor = 50);

-- Conditions that are true now. A row is deleted when its condition ends.
CREATE TABLE open_alerts (
    rule         text COLLATE "C" NOT NULL,
    labels       jsonb NOT NULL,
    since        timestamptz NOT NULL,                -- the condition has been true since then
    fired_at     timestamptz,                         -- null: the condition has not lasted long enough yet
    notified_at  timestamptz,                         -- time of the last message
    value        double precision NOT NULL,
    PRIMARY KEY (rule, labels)
);

CREATE TABLE alert_notices (
    id           text COLLATE "C" NOT NULL,           -- the same for every channel and every attempt
    channel      text COLLATE "C" NOT NULL,
    notice       jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    sent_at      timestamptz,                         -- null: not sent yet
    given_up_at  timestamptz,                         -- not null: it was never sent
    error        text,                                -- of the last attempt
    PRIMARY KEY (id, channel)
);
CREATE INDEX alert_notices_waiting ON alert_notices (created_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX alert_notices_old ON alert_notices (created_at);

-- One row: which process evaluated the rules last.
CREATE TABLE alert_evaluations (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    process       text NOT NULL,
    evaluated_at  timestamptz NOT NULL
);
