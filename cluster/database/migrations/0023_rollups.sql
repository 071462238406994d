-- Roll-ups: sums of the usage and of the platform's data by hour and by day (cluster/analytics). docs/analytics.md describes the columns.

-- Windows that have to be computed again. A trigger adds rows in the transaction that changes the facts, so a window and its facts are
-- committed at once, however late the transaction commits. The roll-up deletes the rows that it sees, and computes the windows afterwards
-- in the same transaction. Rows are only appended, so transactions that change the same hour do not wait for each other.
-- There is no foreign key, because the usage of a deleted organisation is rolled up, too.
CREATE TABLE dirty_windows (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation  text NOT NULL,
    about         text NOT NULL CHECK (about IN ('usage', 'platform')),
    grain         text NOT NULL DEFAULT 'hour' CHECK (grain IN ('hour', 'day')),  -- day: the days that the hour touches
    hour          timestamptz NOT NULL,                        -- beginning of the hour in UTC
    marked_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dirty_windows_organisation ON dirty_windows (organisation, about, grain, hour);

-- The first instant of a day in a time zone. If the clock repeats midnight, it is the first of the two. If it skips midnight, it is the
-- instant of the change.
CREATE FUNCTION start_of_day(of_day date, of_zone text) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT least(
        of_day::timestamp AT TIME ZONE of_zone,
        ((of_day::timestamp - interval '1 hour') AT TIME ZONE of_zone) + interval '1 hour')
$$;

CREATE TABLE usage_hourly (
    organisation  text NOT NULL,
    hour          timestamptz NOT NULL,                        -- beginning of the hour in UTC
    agent         text,                                        -- null: no agent
    model         text,                                        -- null: no model
    source        text NOT NULL,
    kind          text NOT NULL,
    quantity      numeric NOT NULL,
    cost          numeric,                                     -- US dollars, from usage_cost; null: not known
    events        bigint NOT NULL,
    computed_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (organisation, hour, kind, source, agent, model)
);
CREATE TABLE usage_daily (
    organisation  text NOT NULL,
    day           date NOT NULL,                               -- in the time zone of the organisation
    agent         text,
    model         text,
    source        text NOT NULL,
    kind          text NOT NULL,
    quantity      numeric NOT NULL,
    cost          numeric,
    events        bigint NOT NULL,
    computed_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (organisation, day, kind, source, agent, model)
);

CREATE TABLE agent_hourly (
    organisation            text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    hour                    timestamptz NOT NULL,              -- beginning of the hour in UTC
    agent                   text,                              -- null: the whole organisation
    events                  bigint NOT NULL,
    customers               bigint NOT NULL,                   -- different customers; a sum over hours counts customers again
    messages                bigint NOT NULL,
    answers                 bigint NOT NULL,                   -- messages of the role assistant
    active_conversations    bigint NOT NULL,                   -- different conversations with a message
    input_tokens            numeric NOT NULL,                  -- of messages
    output_tokens           numeric NOT NULL,
    cost                    numeric NOT NULL,
    requests                bigint NOT NULL,                   -- events request.completed
    request_input_tokens    numeric NOT NULL,
    request_output_tokens   numeric NOT NULL,
    request_cost            numeric NOT NULL,
    errors                  bigint NOT NULL,                   -- messages, requests and events error.raised with an error class
    errors_by_class         jsonb NOT NULL,
    latency_p50_ms          bigint,                            -- of answers; null: no answer has a latency
    latency_p95_ms          bigint,
    first_token_p50_ms      bigint,
    first_token_p95_ms      bigint,
    request_latency_p50_ms  bigint,
    request_latency_p95_ms  bigint,
    retrievals              bigint NOT NULL,                   -- messages for which something was searched
    retrieval_hits          bigint NOT NULL,
    conversations           bigint NOT NULL,                   -- conversations that began; the columns below count these conversations
    ended                   bigint NOT NULL,
    handed_over             bigint NOT NULL,
    turns                   numeric NOT NULL,                  -- messages of the role user
    unanswered              numeric NOT NULL,                  -- turns after the last answer without an error
    duration_ms             numeric NOT NULL,                  -- from the first to the last event
    duration_p50_ms         bigint,
    resolved                bigint NOT NULL,                   -- confirmed by conversation.ended
    unresolved              bigint NOT NULL,
    assumed_resolved        bigint NOT NULL,
    ratings                 bigint NOT NULL,
    satisfied               bigint NOT NULL,                   -- ratings of 4 or 5
    rating_sum              bigint NOT NULL,
    computed_at             timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (organisation, agent, hour)
);
CREATE INDEX agent_hourly_hour ON agent_hourly (organisation, hour);

CREATE TABLE agent_daily (LIKE agent_hourly INCLUDING DEFAULTS);
ALTER TABLE agent_daily RENAME COLUMN hour TO day;
ALTER TABLE agent_daily
    ALTER COLUMN day TYPE date,                                -- in the time zone of the organisation
    ADD FOREIGN KEY (organisation) REFERENCES organisations ON DELETE CASCADE,
    ADD UNIQUE NULLS NOT DISTINCT (organisation, agent, day);
CREATE INDEX agent_daily_day ON agent_daily (organisation, day);

CREATE TABLE analytics_progress (
    organisation     text PRIMARY KEY,                         -- no foreign key: see dirty_windows
    rolled_through   timestamptz,                              -- every hour before this time was rolled up
    computed_at      timestamptz,                              -- when the last roll-up began
    settled_through  timestamptz NOT NULL DEFAULT '-infinity', -- conversations that were quiet by then count as resolved, if nothing speaks against it
    facts_since      timestamptz NOT NULL DEFAULT '-infinity'  -- retention has deleted facts before this time, so older windows are never computed again
);

-- Files, documents, chunks and jobs of an organisation, counted by the last hourly roll-up.
CREATE TABLE system_stats (
    organisation   text PRIMARY KEY REFERENCES organisations ON DELETE CASCADE,
    vector_stores  bigint NOT NULL,
    files          bigint NOT NULL,
    documents      bigint NOT NULL,
    chunks         bigint NOT NULL,
    bytes          numeric NOT NULL,
    jobs           jsonb NOT NULL,                             -- number of jobs by state, without archived jobs
    retries        bigint NOT NULL,
    dead_letters   bigint NOT NULL,
    computed_at    timestamptz NOT NULL DEFAULT now()
);

-- The outcome of the last reconciliation of each organisation.
CREATE TABLE reconciliations (
    organisation  text PRIMARY KEY REFERENCES organisations ON DELETE CASCADE,
    checked_at    timestamptz NOT NULL,
    from_time     timestamptz NOT NULL,
    to_time       timestamptz NOT NULL,
    windows       bigint NOT NULL,                             -- windows that were compared
    differences   jsonb NOT NULL                               -- the first windows whose roll-ups differ from their facts
);

CREATE INDEX conversations_last_event ON conversations (organisation, last_event_at);

-- Triggers that mark windows --------------------------------------------------------------------------------------------

CREATE FUNCTION mark_usage_windows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dirty_windows (organisation, about, hour)
    SELECT DISTINCT organisation, 'usage', date_trunc('hour', at, 'UTC') FROM changed;
    RETURN NULL;
END
$$;
CREATE TRIGGER usage_marks_windows AFTER INSERT ON usage_events REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_usage_windows();
CREATE TRIGGER deleted_usage_marks_windows AFTER DELETE ON usage_events REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_usage_windows();

-- Retention deletes facts and keeps the roll-ups of these facts. It sets cluster.keep_rollups for its own transaction.
CREATE FUNCTION mark_event_windows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('cluster.keep_rollups', true), '') <> 'on' THEN
        INSERT INTO dirty_windows (organisation, about, hour)
        SELECT DISTINCT organisation, 'platform', date_trunc('hour', occurred_at, 'UTC') FROM changed;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_mark_windows AFTER INSERT ON customer_events REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_event_windows();
CREATE TRIGGER deleted_events_mark_windows AFTER DELETE ON customer_events REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_event_windows();
CREATE TRIGGER messages_mark_windows AFTER INSERT ON messages REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_event_windows();
CREATE TRIGGER deleted_messages_mark_windows AFTER DELETE ON messages REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_event_windows();

-- Each event of a conversation updates the conversation's row, and the quality of a conversation belongs to the window of its beginning.
CREATE FUNCTION mark_conversation_windows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('cluster.keep_rollups', true), '') <> 'on' THEN
        INSERT INTO dirty_windows (organisation, about, hour)
        SELECT DISTINCT organisation, 'platform', date_trunc('hour', first_event_at, 'UTC') FROM changed;
        IF TG_OP = 'UPDATE' THEN
            INSERT INTO dirty_windows (organisation, about, hour)
            SELECT DISTINCT organisation, 'platform', date_trunc('hour', first_event_at, 'UTC') FROM replaced
            EXCEPT SELECT organisation, 'platform', date_trunc('hour', first_event_at, 'UTC') FROM changed;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER conversations_mark_windows AFTER INSERT ON conversations REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_conversation_windows();
CREATE TRIGGER changed_conversations_mark_windows AFTER UPDATE ON conversations
REFERENCING NEW TABLE AS changed OLD TABLE AS replaced
FOR EACH STATEMENT EXECUTE FUNCTION mark_conversation_windows();
CREATE TRIGGER deleted_conversations_mark_windows AFTER DELETE ON conversations REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_conversation_windows();

-- A new price changes the costs of hours that are rolled up. The lock waits for roll-ups that have read the old prices; they hold it shared.
CREATE FUNCTION mark_priced_windows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('roll-ups read prices', 0));
    INSERT INTO dirty_windows (organisation, about, hour)
    SELECT DISTINCT usage.organisation, 'usage', usage.hour
    FROM changed JOIN usage_hourly AS usage ON usage.kind = changed.kind AND usage.hour >= changed.valid_from
        AND (changed.organisation IS NULL OR usage.organisation = changed.organisation);
    RETURN NULL;
END
$$;
CREATE TRIGGER prices_mark_windows AFTER INSERT ON usage_prices REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_priced_windows();
CREATE TRIGGER changed_prices_mark_windows AFTER UPDATE ON usage_prices REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_priced_windows();
CREATE TRIGGER deleted_prices_mark_windows AFTER DELETE ON usage_prices REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION mark_priced_windows();

-- After a change of the time zone, every day is computed again: each hour, and the hours a day before and after it, because a day of the
-- old zone may have no hour in the new zone. The lock waits for a roll-up that has read the old zone.
CREATE FUNCTION mark_days_of_new_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('roll-ups of ' || NEW.id, 0));
    INSERT INTO dirty_windows (organisation, about, grain, hour)
    SELECT DISTINCT NEW.id, about, 'day', hour + days * interval '24 hours'
    FROM (
        SELECT 'usage' AS about, hour FROM usage_hourly WHERE organisation = NEW.id
        UNION SELECT 'platform', hour FROM agent_hourly WHERE organisation = NEW.id
    ) AS rolled, generate_series(-1, 1) AS days;
    RETURN NULL;
END
$$;
CREATE TRIGGER new_zone_marks_days AFTER UPDATE OF time_zone ON organisations
FOR EACH ROW WHEN (NEW.time_zone IS DISTINCT FROM OLD.time_zone) EXECUTE FUNCTION mark_days_of_new_zone();

-- Facts from before this migration.
INSERT INTO dirty_windows (organisation, about, hour)
SELECT DISTINCT organisation, 'usage', date_trunc('hour', at, 'UTC') FROM usage_events
UNION SELECT organisation, 'platform', date_trunc('hour', occurred_at, 'UTC') FROM customer_events
UNION SELECT organisation, 'platform', date_trunc('hour', first_event_at, 'UTC') FROM conversations;
