-- Every event, what the events of a delivery add up to, and the numbered changes that others read.

CREATE TABLE events (
    message_id uuid NOT NULL,
    event_id uuid NOT NULL,
    recipient_no smallint NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    body jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (message_id, event_id)
);

-- A message is known from its first event on, whichever that is; its own fields come with `accepted`.
CREATE TABLE messages (
    message_id uuid PRIMARY KEY,
    app text,
    reference text,
    sender text,
    subject text,
    tags jsonb NOT NULL DEFAULT '[]',
    metadata jsonb NOT NULL DEFAULT '{}',
    rfc_message_id text,
    recipient_count integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'queued',
    rollup jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

CREATE INDEX messages_by_reference ON messages (reference, message_id) WHERE reference IS NOT NULL;
CREATE INDEX messages_by_status ON messages (status, message_id);

CREATE TABLE deliveries (
    message_id uuid NOT NULL REFERENCES messages,
    recipient_no smallint NOT NULL,
    status text NOT NULL,
    facts jsonb NOT NULL,
    rules_version integer NOT NULL,
    PRIMARY KEY (message_id, recipient_no)
) WITH (fillfactor = 70);

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

-- A mark is written with the change itself; the drainer turns marks that are committed into numbers without holes.
CREATE TABLE change_marks (
    mark bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL
);

CREATE TABLE changes (
    number bigint PRIMARY KEY,
    message_id uuid NOT NULL,
    status text NOT NULL,
    version bigint NOT NULL,
    body jsonb NOT NULL,
    published boolean NOT NULL DEFAULT false
);

CREATE INDEX changes_unpublished ON changes (number) WHERE NOT published;
