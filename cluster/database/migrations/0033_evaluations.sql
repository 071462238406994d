-- Evaluations of agents with golden questions (cluster/evaluation).

CREATE TABLE agent_evaluations (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id            text NOT NULL,                               -- eval_...
    name          text NOT NULL,                               -- name of the file of questions
    digest        text NOT NULL,                               -- of the questions; only equal questions are compared
    measures      jsonb NOT NULL,                              -- by agent; "" is all agents together
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id)
);
CREATE INDEX agent_evaluations_newest ON agent_evaluations (organisation, digest, created_at DESC, id);
