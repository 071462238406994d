-- What messages of customers say: language, sentiment, vector and topic (cluster/profiles/messages).
-- docs/profiles.md describes each table and column.

CREATE TABLE message_analyses (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    message          text NOT NULL,
    space            text NOT NULL,                            -- fingerprint of the vector
    version          text NOT NULL,                            -- version of the sentiment
    language         text NOT NULL,                            -- ISO 639; und: unknown
    sentiment        real CHECK (sentiment BETWEEN -1 AND 1),  -- null: the language is not English
    vector           bytea NOT NULL,                           -- numbers of 16 bits, in order
    computed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, message),
    FOREIGN KEY (organisation, message) REFERENCES messages (organisation, id) ON DELETE CASCADE
);

CREATE TABLE topic_models (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    version          text NOT NULL,                            -- hash of the centroids
    space            text NOT NULL,
    as_of            timestamptz NOT NULL,                     -- messages from this time on do not count
    computed_at      timestamptz NOT NULL DEFAULT now(),
    messages         bigint NOT NULL,
    unassigned       bigint NOT NULL,
    agreement        double precision,                         -- adjusted Rand index with the version before; null: the first
    PRIMARY KEY (organisation, version)
);
CREATE INDEX topic_models_computed ON topic_models (organisation, computed_at);

CREATE TABLE message_topics (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               text NOT NULL,                            -- topic_...
    space            text NOT NULL,
    name             text NOT NULL,                            -- from the keywords of the first version
    keywords         text[] NOT NULL,
    centroid         bytea NOT NULL,                           -- numbers of 32 bits, in order
    messages         bigint NOT NULL,                          -- in the latest version that has the topic
    version          text NOT NULL,                            -- the latest model that has the topic
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id)
);

CREATE TABLE topics_of_messages (
    organisation     text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    message          text NOT NULL,
    topic            text NOT NULL,
    PRIMARY KEY (organisation, message),
    FOREIGN KEY (organisation, message) REFERENCES message_analyses (organisation, message) ON DELETE CASCADE,
    FOREIGN KEY (organisation, topic) REFERENCES message_topics (organisation, id) ON DELETE CASCADE
);
CREATE INDEX topics_of_messages_topic ON topics_of_messages (organisation, topic);

-- What messages of a customer who refuses say is forgotten from this moment on.
CREATE FUNCTION delete_refused_analyses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM message_analyses AS analysis USING conversations, messages
    WHERE conversations.organisation = NEW.organisation AND conversations.customer = NEW.id
        AND messages.organisation = NEW.organisation AND messages.conversation = conversations.id
        AND analysis.organisation = NEW.organisation AND analysis.message = messages.id;
    RETURN NULL;
END $$;
CREATE TRIGGER delete_refused_analyses AFTER UPDATE OF profiling ON customers FOR EACH ROW
WHEN (NEW.profiling IS FALSE AND OLD.profiling IS DISTINCT FROM false) EXECUTE FUNCTION delete_refused_analyses();
