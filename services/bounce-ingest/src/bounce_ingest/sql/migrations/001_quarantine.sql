-- Reports that could not be placed, understood or trusted.

CREATE TABLE quarantine (
    id uuid PRIMARY KEY,                -- of the content and of the delivery that it came for
    seq bigint GENERATED ALWAYS AS IDENTITY,
    received_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    detail text NOT NULL,
    way text NOT NULL,                  -- how it came
    subject text NOT NULL,              -- empty once erased
    content_type text NOT NULL,
    message_id uuid,                    -- what its genuine token said; all null without one
    recipient_no smallint,
    issued_on date,
    kid smallint,
    mark bytea,
    raw bytea NOT NULL,                 -- empty once erased
    size integer NOT NULL,              -- of what is kept of it, and of what it is found by
    about text[] NOT NULL,              -- keyed hashes of the addresses in it, and its delivery; empty once erased
    erased_at timestamptz
);

-- The list, and what is dropped first.
CREATE UNIQUE INDEX quarantine_seq ON quarantine (seq);
-- Counts are made of this index alone.
CREATE INDEX quarantine_reason ON quarantine (reason, seq) INCLUDE (size);
CREATE INDEX quarantine_about ON quarantine USING gin (about);

-- What is to be forgotten in reports that come later, too.
CREATE TABLE erasures (
    about text PRIMARY KEY,             -- the keyed hash of an address, or a delivery
    erased_at timestamptz NOT NULL,
    learnt_at timestamptz NOT NULL DEFAULT now()
);
