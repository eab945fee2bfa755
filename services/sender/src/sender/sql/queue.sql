-- name: insert_requests
INSERT INTO requests (message_id, digest, app, body, traceparent)
SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::bytea[], $5::text[])
ON CONFLICT DO NOTHING
RETURNING message_id

-- name: known_digests
SELECT message_id, digest FROM requests WHERE message_id = ANY ($1::uuid[])

-- name: insert_deliveries
INSERT INTO deliveries (message_id, recipient_no, recipient, lane, due_at, expires_at, park_unknown)
SELECT *
FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::lane[], $5::timestamptz[], $6::timestamptz[], $7::boolean[])

-- name: insert_events
INSERT INTO outbox (event) SELECT unnest($1::bytea[])

-- name: lease
-- One lane's share of what is due: fresh work, and leases that ran out. An in_doubt lease that ran out is an unknown outcome;
-- it stays in doubt until that is on the record, whoever dies before.
WITH due AS (
    SELECT message_id, recipient_no, state AS was
    FROM deliveries
    WHERE lane = $1 AND state IN ('ready', 'leased', 'in_doubt') AND due_at <= now()
    ORDER BY due_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d
SET state = CASE due.was WHEN 'in_doubt' THEN due.was ELSE 'leased' END, due_at = now() + $3::interval, fence = d.fence + 1,
    attempt = d.attempt + (due.was <> 'in_doubt')::int,
    outcome_unknown = d.outcome_unknown OR due.was = 'in_doubt'
FROM due JOIN requests r USING (message_id)
WHERE d.message_id = due.message_id AND d.recipient_no = due.recipient_no
RETURNING d.message_id, d.recipient_no, d.recipient, d.attempt, d.fence, d.expires_at, d.outcome_unknown, d.park_unknown,
    due.was = 'in_doubt' AS in_doubt, r.body, r.traceparent, r.accepted_at

-- name: doubt
-- The last look before the final dot: only who still holds the lease may go on, and never to a suppressed address.
UPDATE deliveries
SET state = 'in_doubt', due_at = now() + $4::interval
WHERE message_id = $1 AND recipient_no = $2 AND fence = $3 AND state = 'leased'
    AND NOT EXISTS (
        SELECT FROM active_suppressions s JOIN requests r ON s.app IS NULL OR s.app = r.app
        WHERE r.message_id = $1 AND s.address_key = $5
    )
RETURNING true

-- name: settle
UPDATE deliveries
SET state = $4::delivery_state, due_at = coalesce($5, due_at), outcome_unknown = outcome_unknown OR $6
WHERE message_id = $1 AND recipient_no = $2 AND fence = $3 AND state IN ('leased', 'in_doubt')
RETURNING true

-- name: drop_body
UPDATE requests SET body = NULL
WHERE message_id = $1 AND NOT EXISTS (SELECT FROM deliveries WHERE message_id = $1 AND state <> 'done')

-- name: outbox_head
SELECT seq, event FROM outbox ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED

-- name: outbox_delete
DELETE FROM outbox WHERE seq = ANY ($1::bigint[])

-- name: outbox_age
SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float FROM outbox

-- name: idempotent
-- A key is forgotten with the window in which its message's id is taken.
INSERT INTO idempotency_keys AS k (client, key, message_id, digest) VALUES ($1, $2, $3, $4)
ON CONFLICT (client, key) DO UPDATE
SET message_id = CASE WHEN k.created_at < now() - interval '6 days' THEN excluded.message_id ELSE k.message_id END,
    digest = CASE WHEN k.created_at < now() - interval '6 days' THEN excluded.digest ELSE k.digest END,
    created_at = CASE WHEN k.created_at < now() - interval '6 days' THEN now() ELSE k.created_at END
RETURNING message_id, digest

-- name: suppression
SELECT s.reason, s.since, s.until, s.evidence_event, s.evidence_message
FROM active_suppressions s JOIN requests r ON s.app IS NULL OR s.app = r.app
WHERE r.message_id = $1 AND s.address_key = $2
LIMIT 1
