-- What is not sent to for now: a destination, or '*' for all.

CREATE TABLE pauses (
    destination text PRIMARY KEY,
    by text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);

-- What people and systems changed in the queue by the API, each with its reason; `housekeeping` forgets the old ones.
CREATE TABLE decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL,
    what text NOT NULL,                 -- cancel, retry, give-up, pause or resume
    target text NOT NULL,               -- a message's id, or a paused destination
    recipients smallint[] NOT NULL,     -- of that message, those that were changed
    app text,                           -- the message's; null for a pause, which is everybody's business
    reason text NOT NULL
);

CREATE INDEX decisions_app ON decisions (app, id);

-- A delivery as the API lists it.
CREATE VIEW listed AS
SELECT message_id, recipient_no, app, recipient, destination, lane, state, attempt, due_at, expires_at, outcome_unknown, said
FROM deliveries;
