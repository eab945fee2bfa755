-- The outbound queue: what was asked for, what is to be delivered, and what is to be told.

CREATE TABLE requests (
    message_id uuid PRIMARY KEY,
    digest bytea NOT NULL,              -- of the request's content: the same id with other content is a conflict
    app text NOT NULL,
    body bytea,                         -- null once every delivery is done
    traceparent text,
    accepted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TYPE delivery_state AS ENUM ('ready', 'leased', 'in_doubt', 'parked', 'done');
CREATE TYPE lane AS ENUM ('normal', 'bulk');

CREATE TABLE deliveries (
    message_id uuid NOT NULL REFERENCES requests,
    recipient_no smallint NOT NULL,
    recipient text NOT NULL,
    lane lane NOT NULL,
    state delivery_state NOT NULL DEFAULT 'ready',
    due_at timestamptz NOT NULL,        -- ready: the next attempt; leased, in_doubt: when the lease is over
    expires_at timestamptz NOT NULL,    -- no attempt begins after this
    attempt integer NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,    -- grows with every lease: who holds an older one may not write
    outcome_unknown boolean NOT NULL DEFAULT false,
    park_unknown boolean NOT NULL,      -- an unknown outcome waits for a person instead of being tried again
    PRIMARY KEY (message_id, recipient_no)
) WITH (fillfactor = 70);

CREATE INDEX deliveries_due ON deliveries (lane, due_at) WHERE state IN ('ready', 'leased', 'in_doubt');

-- Events fixed with their ids in the transaction that made them true; deleted when the broker has confirmed them.
CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The ids that the HTTP door gave to requests that came with an Idempotency-Key.
CREATE TABLE idempotency_keys (
    client text NOT NULL,
    key text NOT NULL,
    message_id uuid NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client, key)
);
