-- Who is not to be written to. Evidence is only ever added, erasure apart; the entries follow from it and can be made again.

CREATE TABLE suppression_addresses (
    address_key text PRIMARY KEY,       -- the keyed hash of the address in normal form
    address text,                       -- in normal form; null once erased
    address_at timestamptz,             -- of the newest evidence that told it: an erasure that is older leaves it
    erased_at timestamptz
);

CREATE TABLE suppression_evidence (
    address_key text NOT NULL REFERENCES suppression_addresses,
    id uuid NOT NULL,                   -- the event's
    kind text NOT NULL,
    at timestamptz NOT NULL,
    app text,                           -- null: for every app
    message_id uuid,                    -- of what an event taught: the delivery
    recipient_no smallint,
    reason text,                        -- of what was added by a client: why, and until when (null: for ever)
    until timestamptz,
    words text,                         -- the remote server's
    by text,                            -- the client who decided
    why text,
    learnt_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (address_key, id)
);

-- Every delivery asks whether its address has failed softly: that must cost next to nothing.
CREATE INDEX suppression_evidence_soft ON suppression_evidence (address_key, at) WHERE kind = 'soft_bounce';

CREATE TABLE suppressions (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address_key text NOT NULL,
    app text,                           -- null: for every app
    reason text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz,                  -- null: for ever
    evidence uuid NOT NULL,
    evidence_message uuid,              -- null: a client's decision
    lift uuid,                          -- the evidence that took it back
    FOREIGN KEY (address_key, evidence) REFERENCES suppression_evidence,
    FOREIGN KEY (address_key, lift) REFERENCES suppression_evidence
);

CREATE UNIQUE INDEX suppressions_entry ON suppressions (address_key, reason, coalesce(app, ''));

-- What counts now: looked at before every attempt.
CREATE VIEW active_suppressions AS
SELECT address_key, app, reason, since, until,
    CASE WHEN evidence_message IS NOT NULL THEN evidence END AS evidence_event, evidence_message
FROM suppressions
WHERE lift IS NULL AND (until IS NULL OR until > now());
