-- What is not sent to for now: a destination, or '*' for all.

CREATE TABLE pauses (
    destination text PRIMARY KEY,
    by text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
