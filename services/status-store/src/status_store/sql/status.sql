-- Rows are sent as arrays of a table's row type: as arrays of its columns they cost the client four times as much.

-- name: insert_events
-- How many are new; which, only where some are not.
WITH new AS (
    INSERT INTO events (message_id, event_id, time, recipient_no, type, body)
    SELECT message_id, event_id, time, recipient_no, type, body FROM unnest($1::events[])
    ON CONFLICT DO NOTHING
    RETURNING message_id, event_id
), told AS (
    SELECT count(*) AS count FROM new
)
SELECT count,
    ARRAY (SELECT message_id FROM new WHERE told.count < cardinality($1)) AS message_ids,
    ARRAY (SELECT event_id FROM new WHERE told.count < cardinality($1)) AS event_ids
FROM told

-- name: insert_messages
INSERT INTO messages (message_id, version, recipient_count, described_by, status, rollup,
    app, reference, sender, subject, rfc_message_id, tags, metadata)
SELECT message_id, 1, recipient_count, described_by, status, rollup,
    app, reference, sender, subject, rfc_message_id, tags, metadata
FROM unnest($1::messages[])
ON CONFLICT DO NOTHING
RETURNING 1

-- name: lock_messages
-- The bounds ($2, $3) tell even a generic plan which partitions to look at; an array would not.
SELECT m.message_id::text, m.recipient_count, m.described_by, m.rollup, m.status, m.app FROM messages m
WHERE m.message_id = ANY ($1::uuid[]) AND m.message_id BETWEEN $2 AND $3
ORDER BY m.message_id FOR UPDATE

-- name: known_deliveries
-- Of every delivery of these messages the status; the facts only of those deliveries that are asked for.
SELECT d.message_id::text, d.recipient_no, d.status, d.rules_version, CASE WHEN asked.number IS NOT NULL THEN d.facts END AS facts
FROM deliveries d
LEFT JOIN unnest($1::uuid[], $2::smallint[]) AS asked (id, number) ON id = d.message_id AND number = d.recipient_no
WHERE d.message_id = ANY ($1::uuid[]) AND d.message_id BETWEEN $3 AND $4

-- name: histories
SELECT e.message_id::text, e.recipient_no, e.body
FROM unnest($1::uuid[], $2::smallint[]) AS asked (id, number)
JOIN events e ON e.message_id = id AND e.recipient_no = number
WHERE e.message_id BETWEEN $3 AND $4

-- name: put_deliveries
INSERT INTO deliveries AS d SELECT * FROM unnest($1::deliveries[])
ON CONFLICT (message_id, recipient_no) DO UPDATE
SET rules_version = excluded.rules_version, status = excluded.status, facts = excluded.facts

-- name: put_statuses
UPDATE messages m
SET version = m.version + 1, changed_at = now(), status = n.status, rollup = n.rollup::json
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (id, status, rollup)
WHERE m.message_id = n.id AND m.message_id BETWEEN $4 AND $5

-- name: put_messages
UPDATE messages m
SET version = m.version + 1, changed_at = now(),
    recipient_count = n.recipient_count, described_by = n.described_by, status = n.status, rollup = n.rollup,
    app = n.app, reference = n.reference, sender = n.sender, subject = n.subject, rfc_message_id = n.rfc_message_id,
    tags = n.tags, metadata = n.metadata
FROM unnest($1::messages[]) n
WHERE m.message_id = n.message_id AND m.message_id BETWEEN $2 AND $3

-- name: erase_subjects
UPDATE messages m SET subject = $3
FROM unnest($1::uuid[], $2::smallint[]) AS erased (id, number)
WHERE m.message_id = id AND m.described_by = number AND m.subject <> ''

-- name: put_bodies
UPDATE events e SET body = n.body::json
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS n (message_id, event_id, body)
WHERE e.message_id = n.message_id AND e.event_id = n.event_id AND e.message_id BETWEEN $4 AND $5

-- name: put_terms
INSERT INTO terms SELECT * FROM unnest($1::terms[]) ON CONFLICT DO NOTHING

-- name: erase_terms
DELETE FROM terms t USING unnest($1::terms[]) AS gone
WHERE t.term = gone.term AND t.message_id = gone.message_id AND t.recipient_no = gone.recipient_no

-- name: put_issues
INSERT INTO issues AS i (message_id, status) SELECT * FROM unnest($1::uuid[], $2::text[])
ON CONFLICT (message_id) DO UPDATE
SET status = excluded.status, since = excluded.since, seen_at = NULL, seen_by = NULL
WHERE i.status <> excluded.status

-- name: end_issues
DELETE FROM issues WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2 AND $3

-- name: mark_changed
INSERT INTO change_marks (message_ids, counts) VALUES ($1, $2)

-- name: forget_counts
DELETE FROM counters WHERE hour < $1

-- name: orphans
SELECT count(*) AS count, coalesce(extract(epoch FROM now() - min(known_since)), 0)::float AS oldest_seconds
FROM messages WHERE described_by IS NULL
