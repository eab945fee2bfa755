-- The outbound queue: what was asked for, what is to be delivered, and what is to be told.
-- What is partitioned is so by the time in the message's id, a month each; `housekeeping` makes the months, and drops one when all in it is done.

CREATE TABLE requests (
    message_id uuid PRIMARY KEY,
    digest bytea NOT NULL,              -- of the request's content: the same id with other content is a conflict
    app text NOT NULL,
    open smallint NOT NULL,             -- deliveries that are not done
    body bytea,                         -- null once every delivery is done
    traceparent text,
    accepted_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (message_id);

CREATE TYPE lane AS ENUM ('normal', 'bulk');

CREATE TYPE delivery_state AS ENUM (
    'ready',                            -- due: whoever leases it tries it
    'waiting',                          -- until due_at: for `send_at`, or for the next attempt
    'leased',                           -- being tried; until due_at, then it is ready again
    'in_doubt',                         -- the final dot may have been sent; until due_at, then its outcome is unknown
    'parked',                           -- its outcome is unknown, and a person decides
    'done'
);

CREATE TABLE deliveries (
    message_id uuid NOT NULL,
    recipient_no smallint NOT NULL,
    app text NOT NULL,
    recipient text NOT NULL,
    destination text NOT NULL,          -- the recipient's domain
    address_key text NOT NULL,          -- the keyed hash of the address in normal form
    lane lane NOT NULL,
    state delivery_state NOT NULL,
    due_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,    -- no attempt begins after this
    attempt integer NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,    -- grows with every lease: who holds an older one may not write
    outcome_unknown boolean NOT NULL DEFAULT false,
    park_unknown boolean NOT NULL,      -- an unknown outcome waits for a person instead of being tried again
    said text,                          -- by the remote server, at the last attempt
    PRIMARY KEY (message_id, recipient_no)
) PARTITION BY RANGE (message_id);

CREATE INDEX deliveries_ready ON deliveries (lane, destination, due_at) WHERE state = 'ready';
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'ready';
CREATE INDEX deliveries_timed ON deliveries (due_at) WHERE state IN ('waiting', 'leased', 'in_doubt');
CREATE INDEX deliveries_parked ON deliveries (message_id) WHERE state = 'parked';

-- Events fixed with their ids in the transaction that made them true; deleted when the broker has confirmed them.
CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL,
    name text NOT NULL,                 -- the event's, and its routing key
    event bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- The ids that the HTTP door gave to requests that came with an Idempotency-Key.
CREATE TABLE idempotency_keys (
    client text NOT NULL,
    key text NOT NULL,
    message_id uuid NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
