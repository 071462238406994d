-- Usage reports of organisations: drafts, final reports, and the lines of final reports (cluster/usage_reports).

CREATE TABLE usage_reports (
    organisation      text NOT NULL REFERENCES organisations,
    id                text NOT NULL,                           -- report_...
    period_start      date NOT NULL,                           -- first day, in the organisation's time zone
    period_end        date NOT NULL CHECK (period_end > period_start),   -- the day after the last day
    time_zone         text NOT NULL,                           -- of the days
    state             text NOT NULL CHECK (state IN ('draft', 'final')),
    status            text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'completed', 'failed')),
    with_pdf          boolean NOT NULL,                        -- false: CSV only
    job               text,                                    -- the last job that made the report; null: a command did
    error             text,                                    -- why the last attempt failed
    csv_sha256        text,                                    -- a blob of the organisation 'system'
    csv_bytes         bigint,
    pdf_sha256        text,                                    -- as csv_sha256
    pdf_bytes         bigint,
    usage_lines       integer,                                 -- lines about the period
    adjustment_lines  integer,                                 -- lines about earlier periods
    events            bigint,                                  -- usage events of all lines
    cost              numeric,                                 -- US dollars, of all lines
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at      timestamptz,
    PRIMARY KEY (organisation, id),
    CHECK (state = 'draft' OR with_pdf),
    CHECK ((status = 'completed') = (completed_at IS NOT NULL AND csv_sha256 IS NOT NULL)),
    CHECK (status <> 'completed' OR with_pdf = (pdf_sha256 IS NOT NULL))
);
CREATE INDEX usage_reports_created ON usage_reports (organisation, created_at, id);
CREATE UNIQUE INDEX usage_reports_final ON usage_reports (organisation, period_start)
    WHERE state = 'final' AND status = 'completed';
CREATE INDEX usage_reports_csv ON usage_reports (csv_sha256);
CREATE INDEX usage_reports_pdf ON usage_reports (pdf_sha256);
CREATE INDEX usage_reports_drafts ON usage_reports (created_at) WHERE state = 'draft';

-- What each final report bills. The sum over all final reports is what was billed; a later report bills the difference to the roll-ups.
CREATE TABLE usage_report_lines (
    organisation  text NOT NULL,
    report        text NOT NULL,
    number        integer NOT NULL,                            -- from 1, in the order of the CSV
    adjustment    boolean NOT NULL,                            -- true: the day is before the report's period
    day           date NOT NULL,
    agent         text NOT NULL,                               -- empty: no agent
    model         text NOT NULL,                               -- empty: no model
    kind          text NOT NULL,
    unit          text NOT NULL,
    quantity      numeric NOT NULL,
    events        bigint NOT NULL,
    cost          numeric,                                     -- US dollars; null: no price was known
    PRIMARY KEY (organisation, report, number),
    FOREIGN KEY (organisation, report) REFERENCES usage_reports (organisation, id) ON DELETE CASCADE
);
CREATE INDEX usage_report_lines_day ON usage_report_lines (organisation, day);

-- A completed final report never changes.
CREATE FUNCTION refuse_change_of_final_report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'usage report % of organisation % is final: % is refused', OLD.id, OLD.organisation, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER final_report_is_immutable BEFORE UPDATE OR DELETE ON usage_reports
FOR EACH ROW WHEN (OLD.state = 'final' AND OLD.status = 'completed')
EXECUTE FUNCTION refuse_change_of_final_report();

-- Only final reports have lines, so lines never change.
CREATE FUNCTION refuse_change_of_report_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'usage_report_lines is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER report_lines_are_append_only BEFORE UPDATE OR DELETE ON usage_report_lines
FOR EACH ROW EXECUTE FUNCTION refuse_change_of_report_line();
CREATE TRIGGER report_lines_are_not_truncated BEFORE TRUNCATE ON usage_report_lines
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_report_line();
