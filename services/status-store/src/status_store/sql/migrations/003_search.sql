-- What a message is found by besides its id, its status and its reference: its app, its sender and its tags, and each of
-- its recipients; written once, when its `accepted` comes, and in a narrow table: an index more on `messages` would be
-- written with every change of a status. A term is a hash of 16 bytes, of an address a keyed one; `recipient_no` is the
-- recipient whose `accepted` says so.
CREATE TABLE terms (
    term uuid NOT NULL,
    message_id uuid NOT NULL,
    recipient_no smallint NOT NULL,
    PRIMARY KEY (term, message_id, recipient_no)
) PARTITION BY RANGE (message_id);

-- Messages that are delivery issues, few among many, and who has seen them.
CREATE TABLE issues (
    message_id uuid PRIMARY KEY,
    status text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz,
    seen_by text
) PARTITION BY RANGE (message_id);

CREATE INDEX issues_unseen ON issues (message_id) WHERE seen_at IS NULL;

-- What a transaction adds to the counters travels with its mark, and the drainer adds it: nobody else writes them, so
-- nobody waits for anybody's row. A status is counted in the hour of its message, an event in its own.
ALTER TABLE change_marks ADD COLUMN counts json;

CREATE TABLE counters (
    hour timestamptz NOT NULL,
    app text NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, app, kind, value)
) WITH (fillfactor = 70);
