-- name: insert_events
INSERT INTO events (message_id, event_id, recipient_no, type, time, body)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::timestamptz[], $6::jsonb[])
ON CONFLICT DO NOTHING
RETURNING message_id, event_id

-- name: insert_messages
INSERT INTO messages (message_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING

-- name: lock_messages
SELECT message_id, rollup::text FROM messages
WHERE message_id = ANY ($1::uuid[]) ORDER BY message_id FOR UPDATE

-- name: facts
SELECT message_id, recipient_no, facts::text FROM deliveries WHERE message_id = ANY ($1::uuid[])

-- name: history
SELECT body::text FROM events WHERE message_id = $1 AND recipient_no = $2

-- name: put_deliveries
INSERT INTO deliveries AS d (message_id, recipient_no, status, facts, rules_version)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::jsonb[], $5::integer[])
ON CONFLICT (message_id, recipient_no) DO UPDATE
SET status = excluded.status, facts = excluded.facts, rules_version = excluded.rules_version

-- name: put_accepted
UPDATE messages m
SET app = n.app, reference = n.reference, sender = n.sender, subject = n.subject, rfc_message_id = n.rfc_message_id,
    recipient_count = n.recipient_count, tags = n.tags, metadata = n.metadata
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::jsonb[], $9::jsonb[])
    AS n (message_id, app, reference, sender, subject, rfc_message_id, recipient_count, tags, metadata)
WHERE m.message_id = n.message_id

-- name: put_rollups
WITH new AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::boolean[]) AS n (message_id, status, rollup, changed)
), updated AS (
    UPDATE messages m
    SET status = new.status, rollup = new.rollup, version = m.version + 1, changed_at = now()
    FROM new WHERE m.message_id = new.message_id
)
INSERT INTO change_marks (message_id) SELECT message_id FROM new WHERE changed

-- name: lock_drainer
SELECT pg_advisory_xact_lock(7274063002)

-- name: number_changes
-- Only what is committed can be seen, and only one drainer numbers at a time: no hole is ever filled later.
WITH marks AS (
    DELETE FROM change_marks WHERE mark IN (SELECT mark FROM change_marks ORDER BY mark LIMIT $1)
    RETURNING mark, message_id
), newest AS (
    SELECT message_id, max(mark) AS mark FROM marks GROUP BY message_id
)
INSERT INTO changes (number, message_id, status, version, body)
SELECT (SELECT coalesce(max(number), 0) FROM changes) + row_number() OVER (ORDER BY newest.mark),
    m.message_id, m.status, m.version,
    jsonb_build_object('status', m.status, 'version', m.version, 'reference', m.reference, 'app', m.app, 'rollup', m.rollup)
FROM newest JOIN messages m USING (message_id)

-- name: unpublished
SELECT number, message_id, body FROM changes WHERE NOT published ORDER BY number LIMIT $1

-- name: published
UPDATE changes SET published = true WHERE number = ANY ($1::bigint[])

-- name: message
SELECT to_jsonb(m)::text FROM messages m WHERE message_id = $1

-- name: deliveries
SELECT recipient_no, facts::text FROM deliveries WHERE message_id = $1 ORDER BY recipient_no

-- name: timeline
SELECT m.app, jsonb_build_object('events', jsonb_agg(e.body ORDER BY e.time, e.event_id))::text AS events
FROM messages m JOIN events e USING (message_id)
WHERE message_id = $1
GROUP BY m.app

-- name: list
SELECT to_jsonb(m)::text AS message FROM messages m
WHERE ($1::text IS NULL OR app = $1)
    AND ($2::text IS NULL OR status = $2)
    AND ($3::text IS NULL OR reference = $3)
    AND ($4::uuid IS NULL OR message_id < $4)
ORDER BY message_id DESC
LIMIT $5
