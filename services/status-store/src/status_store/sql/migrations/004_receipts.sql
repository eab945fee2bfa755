-- What was asked for an address: its erasure, a withdrawal of its consent, an export of what is known; by whom and why.
-- Written before anything is published, so that what was asked for is done even if the broker is away just then.
CREATE TABLE receipts (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    address_key text NOT NULL,
    app text,
    by text NOT NULL,
    reason text,
    asked_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    deliveries integer NOT NULL DEFAULT 0
);

CREATE INDEX receipts_by_time ON receipts (asked_at);
