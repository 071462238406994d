-- Rate limits and breakers of remote providers, for the whole cluster, and the keys of organisations for these providers.
-- The tables rate_... have no foreign keys, because each request to a provider writes into them. Their rows expire.

CREATE TABLE rate_budgets (
    name          text COLLATE "C" PRIMARY KEY,
    clock         timestamptz NOT NULL,               -- the database's clock at the last change; it never goes back
    paused_until  timestamptz NOT NULL DEFAULT '-infinity',
    -- Start-time fair queueing: the virtual times of the claims granted last, and how far urgent claims are ahead of others.
    urgent_now    double precision NOT NULL DEFAULT 0,
    bulk_now      double precision NOT NULL DEFAULT 0,
    urgent_lead   double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE rate_claims (
    budget        text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,
    organisation  text COLLATE "C" NOT NULL,
    urgent        boolean NOT NULL,
    -- waiting: for room; offered: it has room, and its process does not know yet; held: a call may be in flight
    state         text NOT NULL CHECK (state IN ('waiting', 'offered', 'held')),
    until         timestamptz NOT NULL,               -- a claim whose process does not come back by then is ended by another process
    number        bigint GENERATED ALWAYS AS IDENTITY,
    resources     text[] NOT NULL,
    amounts       double precision[] NOT NULL,        -- of each resource; whole numbers
    windows       double precision[] NOT NULL,        -- seconds for which the provider counts each resource
    PRIMARY KEY (budget, id)
) WITH (fillfactor = 50);

-- What was used, by the time until which it counts.
CREATE TABLE rate_usage (
    budget        text COLLATE "C" NOT NULL,
    resource      text COLLATE "C" NOT NULL,
    until         timestamptz NOT NULL,
    amount        double precision NOT NULL,
    PRIMARY KEY (budget, resource, until)
) WITH (fillfactor = 50);

-- Grants are spread over the window: at what time the granted amounts would have passed at the rate of the limit.
CREATE TABLE rate_paces (
    budget        text COLLATE "C" NOT NULL,
    resource      text COLLATE "C" NOT NULL,
    urgent        boolean NOT NULL,
    passed_at     timestamptz NOT NULL,
    PRIMARY KEY (budget, resource, urgent)
) WITH (fillfactor = 50);

-- The virtual time at which the next claim of an organisation starts, if it is not in the past.
CREATE TABLE rate_turns (
    budget        text COLLATE "C" NOT NULL,
    organisation  text COLLATE "C" NOT NULL,
    urgent        boolean NOT NULL,
    next          double precision NOT NULL,
    PRIMARY KEY (budget, organisation, urgent)
) WITH (fillfactor = 50);

CREATE TABLE rate_breakers (
    name              text COLLATE "C" PRIMARY KEY,
    failures          integer NOT NULL DEFAULT 0,     -- since the last success, within the window
    first_failure_at  timestamptz NOT NULL DEFAULT '-infinity',
    opened_at         timestamptz,                    -- null: closed
    retry_at          timestamptz,                    -- while open: when a probe may be sent
    pause_s           double precision,               -- while open: seconds from the last failure to retry_at
    probe             text COLLATE "C",               -- while open: the attempt that probes
    probe_until       timestamptz                     -- then the probe's process counts as lost
);

CREATE TABLE provider_keys (
    organisation  text COLLATE "C" NOT NULL REFERENCES organisations ON DELETE CASCADE,
    provider      text COLLATE "C" NOT NULL,
    token         text NOT NULL,                      -- encrypted with CLUSTER_SECRET_KEY (Fernet)
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, provider)
);
