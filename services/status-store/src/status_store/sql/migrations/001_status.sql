-- Every event, what the events of a delivery add up to, and the numbered changes that others read.
-- What is partitioned is so by the time in the message's id, a month each; status_store.partitions makes and drops them.
-- Bodies, facts and roll-ups are `json`, not `jsonb`: they are kept as they were written, and cost half as much to write.

CREATE TABLE events (
    message_id uuid NOT NULL,
    event_id uuid NOT NULL,
    time timestamptz NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    recipient_no smallint NOT NULL,
    type text NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (message_id, event_id)
) PARTITION BY RANGE (message_id);

-- A message is known from its first event on, whichever that is. Its own fields come with the `accepted` of one of its
-- recipients: the first that is known, whose number is `described_by`.
CREATE TABLE messages (
    message_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    known_since timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    recipient_count integer NOT NULL DEFAULT 0,
    described_by smallint,
    status text NOT NULL,
    rollup json NOT NULL,
    app text,
    reference text,
    sender text,
    subject text,
    rfc_message_id text,
    tags jsonb NOT NULL DEFAULT '[]',
    metadata jsonb NOT NULL DEFAULT '{}'
) PARTITION BY RANGE (message_id);

CREATE INDEX messages_by_reference ON messages (reference, message_id) WHERE reference IS NOT NULL;
CREATE INDEX messages_by_status ON messages (status, message_id);
CREATE INDEX messages_orphaned ON messages (known_since) WHERE described_by IS NULL;

CREATE TABLE deliveries (
    message_id uuid NOT NULL,
    recipient_no smallint NOT NULL,
    rules_version smallint NOT NULL,
    status text NOT NULL,
    facts json NOT NULL,
    PRIMARY KEY (message_id, recipient_no)
) PARTITION BY RANGE (message_id);

-- What a service could not process, from every queue, with the reason; replayed to the exchange that it was for, or dropped.
CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    queue text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    code text NOT NULL,
    problem jsonb,
    app text,
    content_type text,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    died_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz
);

CREATE INDEX dead_letters_by_queue ON dead_letters (queue, code, id);

-- A mark is written with the changes themselves, one for a whole transaction; the drainer turns marks that are committed
-- into numbers without holes. Whoever reads a number reads the newest state of its messages.
CREATE TABLE change_marks (
    mark bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_ids uuid[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE changes (
    number bigint PRIMARY KEY,
    numbered_at timestamptz NOT NULL DEFAULT now(),
    message_ids uuid[] NOT NULL
);

-- One row: the last number given, and the last one published.
CREATE TABLE feed (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    numbered bigint NOT NULL DEFAULT 0,
    published bigint NOT NULL DEFAULT 0
);

INSERT INTO feed DEFAULT VALUES;

-- How far each refold is, written with each of its batches: `position` is the last message that is done.
CREATE TABLE refolds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rules_version smallint NOT NULL,
    scope text NOT NULL,
    position uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    tally json NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
