-- Feedback on messages (cluster/platform_data/feedback.py), and stored responses (cluster/responses). docs/platform-data.md describes
-- the columns of messages.

ALTER TABLE messages
    ADD COLUMN feedback          text CHECK (feedback IN ('positive', 'negative')),  -- the latest; null: none
    ADD COLUMN feedback_comment  text,
    ADD COLUMN feedback_at       timestamptz;
CREATE INDEX messages_feedback ON messages (organisation, feedback_at, id) WHERE feedback IS NOT NULL;

ALTER TABLE agent_hourly
    ADD COLUMN feedbacks           bigint NOT NULL DEFAULT 0,  -- messages with feedback
    ADD COLUMN positive_feedbacks  bigint NOT NULL DEFAULT 0;
ALTER TABLE agent_daily
    ADD COLUMN feedbacks           bigint NOT NULL DEFAULT 0,
    ADD COLUMN positive_feedbacks  bigint NOT NULL DEFAULT 0;

-- Feedback belongs to the window of its message. Other updates of a message change no roll-up, so the trigger names the column.
CREATE FUNCTION mark_feedback_window() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dirty_windows (organisation, about, hour)
    VALUES (NEW.organisation, 'platform', date_trunc('hour', NEW.occurred_at, 'UTC'));
    RETURN NULL;
END
$$;
CREATE TRIGGER feedback_marks_window AFTER UPDATE OF feedback ON messages
FOR EACH ROW WHEN (OLD.feedback IS DISTINCT FROM NEW.feedback) EXECUTE FUNCTION mark_feedback_window();

-- Answers of POST /v1/responses that the caller lets the cluster keep.
CREATE TABLE responses (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id            text NOT NULL,                               -- resp_...
    previous      text,                                        -- the response that this one continues; it may be deleted
    customer      text,                                        -- the customer that the request names; the erasure of the customer deletes the row
    conversation  text,                                        -- external id of the conversation, which all responses of a chain share
    stores        text[] NOT NULL,                             -- ids of the vector stores that were searched
    input         jsonb NOT NULL,                              -- the items of the request
    response      jsonb NOT NULL,                              -- the answer
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX responses_expiry ON responses (expires_at);
CREATE INDEX responses_customer ON responses (organisation, customer) WHERE customer IS NOT NULL;
