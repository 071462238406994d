-- The platform's data: agents, customers, conversations, messages and events (cluster/platform_data).
-- docs/platform-data.md describes each table and column.

CREATE TABLE agents (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- agent_...
    external_id      text NOT NULL,                            -- the id that the sender of events uses
    name             text NOT NULL DEFAULT '',
    model            text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    UNIQUE (organisation, external_id)
);
CREATE INDEX agents_created ON agents (organisation, created_at, id);

CREATE TABLE customers (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- cust_...
    external_id      text NOT NULL,
    name             text,
    email            text,
    properties       jsonb NOT NULL DEFAULT '{}',
    described_at     timestamptz,                              -- time of the customer.seen that gave the three above
    first_seen_at    timestamptz NOT NULL,                     -- the earliest event
    last_seen_at     timestamptz NOT NULL,                     -- the latest event
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    UNIQUE (organisation, external_id)
);
CREATE INDEX customers_created ON customers (organisation, created_at, id);
CREATE INDEX customers_first_seen ON customers (organisation, first_seen_at);

CREATE TABLE conversations (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- conv_...
    external_id      text NOT NULL,
    agent            text,
    customer         text,
    channel          text,
    started_at       timestamptz,                              -- the earliest conversation.started
    ended_at         timestamptz,                              -- the latest conversation.ended
    resolved         boolean,                                  -- of that event; null: not said
    handed_over_at   timestamptz,                              -- the earliest conversation.handed_over
    rating           smallint CHECK (rating BETWEEN 1 AND 5),
    rated_at         timestamptz,                              -- the latest conversation.rated, which gave the rating
    first_event_at   timestamptz NOT NULL,
    last_event_at    timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    UNIQUE (organisation, external_id),
    FOREIGN KEY (organisation, agent) REFERENCES agents (organisation, id),
    FOREIGN KEY (organisation, customer) REFERENCES customers (organisation, id)
);
CREATE INDEX conversations_created ON conversations (organisation, created_at, id);
CREATE INDEX conversations_first_event ON conversations (organisation, first_event_at);
CREATE INDEX conversations_agent ON conversations (organisation, agent, created_at, id);
CREATE INDEX conversations_customer ON conversations (organisation, customer, created_at, id);

CREATE TABLE messages (
    organisation             text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id                       text NOT NULL,                    -- msg_..., made from the source and id of the event
    conversation             text NOT NULL,
    agent                    text,
    role                     text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    text                     text NOT NULL DEFAULT '',
    model                    text,
    latency_ms               integer CHECK (latency_ms >= 0),
    time_to_first_token_ms   integer CHECK (time_to_first_token_ms >= 0),
    input_tokens             bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens            bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cost                     numeric NOT NULL DEFAULT 0 CHECK (cost >= 0),
    error_class              text,                             -- null: no error
    retrieval_hit            boolean,                          -- null: nothing was retrieved for this message
    sources                  jsonb NOT NULL DEFAULT '[]',
    occurred_at              timestamptz NOT NULL,
    received_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    FOREIGN KEY (organisation, conversation) REFERENCES conversations (organisation, id),
    FOREIGN KEY (organisation, agent) REFERENCES agents (organisation, id)
);
CREATE INDEX messages_occurred ON messages (organisation, occurred_at);
CREATE INDEX messages_received ON messages (organisation, received_at);
CREATE INDEX messages_conversation ON messages (organisation, conversation, occurred_at, id);
CREATE INDEX messages_agent ON messages (organisation, agent, occurred_at);

-- Facts are only added; the erasure of a customer and the deletion of an organisation are the only deletions.
CREATE TABLE customer_events (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    source           text NOT NULL,
    id               text NOT NULL,                            -- unique for its source
    type             text NOT NULL,
    occurred_at      timestamptz NOT NULL,                     -- when it happened, as the sender says
    received_at      timestamptz NOT NULL DEFAULT now(),       -- when the cluster accepted it
    agent            text,
    customer         text,
    conversation     text,
    properties       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (organisation, source, id),
    FOREIGN KEY (organisation, agent) REFERENCES agents (organisation, id),
    FOREIGN KEY (organisation, customer) REFERENCES customers (organisation, id),
    FOREIGN KEY (organisation, conversation) REFERENCES conversations (organisation, id)
);
CREATE INDEX customer_events_occurred ON customer_events (organisation, occurred_at);
CREATE INDEX customer_events_received ON customer_events (organisation, received_at);
CREATE INDEX customer_events_agent ON customer_events (organisation, agent, occurred_at);
CREATE INDEX customer_events_customer ON customer_events (organisation, customer);
CREATE INDEX customer_events_conversation ON customer_events (organisation, conversation);

-- Ids of erased customers and of their conversations, so that an event that arrives late brings nothing back.
-- An id is a hash, so this table names no person.
CREATE TABLE customer_erasures (
    organisation       text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id                 text NOT NULL,                          -- cust_... or conv_...
    customer           text NOT NULL,                          -- the erased customer
    erased_at          timestamptz NOT NULL,
    first_occurred_at  timestamptz,                            -- roll-ups between these two times have changed
    last_occurred_at   timestamptz,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX customer_erasures_customer ON customer_erasures (organisation, customer);
CREATE INDEX customer_erasures_erased ON customer_erasures (organisation, erased_at);
