-- Budgets of organisations in tokens or in US dollars, what each period has used, and what work has reserved (cluster/budgets).

CREATE TABLE budgets (
    organisation  text NOT NULL REFERENCES organisations,
    id            text NOT NULL,                               -- bud_...
    name          text NOT NULL DEFAULT '',
    key           text,                                        -- only the work of this API key counts; null: of every caller
    agent         text,                                        -- only the work for this agent of the platform counts; null: all work
    unit          text NOT NULL CHECK (unit IN ('tokens', 'usd')),
    period        text NOT NULL CHECK (period IN ('day', 'week', 'month')),
    warn_at       numeric(30, 12) CHECK (warn_at > 0),         -- null: no warning
    stop_at       numeric(30, 12) CHECK (stop_at > 0),         -- work beyond this amount is refused; null: nothing is refused
    by_operator   boolean NOT NULL,                            -- only the operator may change or delete the budget
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, id),
    CHECK (warn_at IS NOT NULL OR stop_at IS NOT NULL)
);
CREATE INDEX budgets_created ON budgets (organisation, created_at, id);

-- The charges of a period that are already summed.
CREATE TABLE budget_periods (
    organisation  text NOT NULL,
    budget        text NOT NULL,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,                        -- the first instant after the period
    used          numeric NOT NULL,
    warned_at     timestamptz,                                 -- when the warning was sent; null: not yet
    stopped_at    timestamptz,                                 -- the first refusal; null: nothing was refused
    PRIMARY KEY (organisation, budget, starts_at),
    FOREIGN KEY (organisation, budget) REFERENCES budgets (organisation, id) ON DELETE CASCADE
);

-- What usage events cost a budget, and what is not added to budget_periods.used yet. An event and its charges are committed together.
CREATE TABLE budget_charges (
    organisation  text NOT NULL,
    number        bigint GENERATED ALWAYS AS IDENTITY,
    budget        text NOT NULL,
    at            timestamptz NOT NULL,                        -- time of the event
    amount        numeric NOT NULL,
    PRIMARY KEY (organisation, budget, number),
    FOREIGN KEY (organisation, budget) REFERENCES budgets (organisation, id) ON DELETE CASCADE
);

-- What work in progress may still cost. A reservation counts until it is deleted or expires, in whatever period that is.
CREATE TABLE budget_reservations (
    organisation  text NOT NULL,
    budget        text NOT NULL,
    id            text NOT NULL,                               -- of the piece of work; the same for each budget that the work concerns
    owner         text NOT NULL,                               -- the process or job that renews the reservation
    amount        numeric NOT NULL CHECK (amount > 0),
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (organisation, budget, id),
    FOREIGN KEY (organisation, budget) REFERENCES budgets (organisation, id) ON DELETE CASCADE
);
CREATE INDEX budget_reservations_id ON budget_reservations (organisation, id);
CREATE INDEX budget_reservations_owner ON budget_reservations (organisation, owner);
CREATE INDEX budget_reservations_expiry ON budget_reservations (expires_at);

-- The first instant at which clocks of the zone show this local time or a later one. Clocks can skip a time, and can show a time twice.
CREATE FUNCTION first_instant(local_time timestamp, zone text) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT min(instant)
    FROM (SELECT local_time AT TIME ZONE zone - shift AS instant
          FROM unnest(ARRAY[interval '0', '30 minutes', '1 hour', '2 hours']) AS shift) AS candidates
    WHERE instant AT TIME ZONE zone >= local_time
$$;

-- The period that contains the time. Weeks begin on Monday, months on the billing day.
CREATE FUNCTION budget_period(
    of_period text, of_time timestamptz, zone text, billing_day integer, OUT starts_at timestamptz, OUT ends_at timestamptz
) LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    days interval := make_interval(days => CASE of_period WHEN 'month' THEN billing_day - 1 ELSE 0 END);
    first timestamp := date_trunc(of_period, of_time AT TIME ZONE zone - days) + days;
BEGIN
    starts_at := first_instant(first, zone);
    ends_at := first_instant(date_trunc(of_period, first - days) + ('1 ' || of_period)::interval + days, zone);
END $$;

-- What an amount of work costs a budget. The tokens of a provider are also in the events of the work itself.
CREATE FUNCTION budget_amount(
    of_unit text, of_organisation text, of_kind text, unit_of_kind text, of_model text, of_time timestamptz, quantity numeric,
    recorded_cost numeric
) RETURNS numeric LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN of_unit = 'usd' THEN coalesce(usage_cost(of_organisation, of_kind, of_model, of_time, quantity, recorded_cost), 0)
        WHEN unit_of_kind = 'tokens' AND NOT starts_with(of_kind, 'provider_') THEN quantity
        ELSE 0
    END
$$;

-- Charges the budgets of new usage events, so no code that records usage can forget them. It takes no lock that another event waits
-- for. A budget that is created or deleted at the same time waits for the lock, so no event is missing in it.
CREATE FUNCTION charge_budgets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('budgets of ' || organisation, 0))
    FROM (SELECT DISTINCT organisation FROM added ORDER BY organisation) AS owners;
    IF EXISTS (SELECT FROM budgets WHERE organisation IN (SELECT organisation FROM added)) THEN
        BEGIN
            INSERT INTO budget_charges (organisation, budget, at, amount)
            SELECT organisation, id, at, amount
            FROM (SELECT budget.organisation, budget.id, event.at, budget_amount(
                      budget.unit, event.organisation, event.kind, event.unit, event.model, event.at, event.quantity, event.cost) AS amount
                  FROM added AS event JOIN budgets AS budget ON budget.organisation = event.organisation
                      AND (budget.key IS NULL OR budget.key = event.key) AND (budget.agent IS NULL OR budget.agent = event.agent)
            ) AS charges
            WHERE amount > 0;
        EXCEPTION WHEN foreign_key_violation THEN
            NULL;  -- the organisation's budgets are being deleted; its usage is kept
        END;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_charges_budgets AFTER INSERT ON usage_events REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION charge_budgets();

-- Replicas read the organisations that have changed (known_keys.sql), and keep in memory which of them have budgets.
CREATE FUNCTION count_budget_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner text := coalesce(NEW.organisation, OLD.organisation);
    next_version bigint;
BEGIN
    PERFORM FROM organisations WHERE id = owner FOR NO KEY UPDATE;  -- first, as every change of an organisation does
    UPDATE access_version SET version = version + 1 RETURNING version INTO next_version;
    UPDATE organisations SET version = next_version WHERE id = owner;
    RETURN NULL;
END $$;
CREATE TRIGGER budget_changed AFTER INSERT OR DELETE OR UPDATE OF stop_at ON budgets
FOR EACH ROW EXECUTE FUNCTION count_budget_change();
