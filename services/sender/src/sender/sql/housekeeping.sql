-- name: unfinished
-- What keeps a month, whose ids are from $1 up to $2: each part by an index of what is not done, whatever else lies there.
SELECT state::text AS what, count(*) FROM deliveries
WHERE state = 'ready' AND message_id >= $1::uuid AND message_id < $2::uuid GROUP BY state
UNION ALL
SELECT state::text, count(*) FROM deliveries
WHERE state IN ('waiting', 'leased', 'in_doubt') AND message_id >= $1::uuid AND message_id < $2::uuid GROUP BY state
UNION ALL
SELECT state::text, count(*) FROM deliveries
WHERE state = 'parked' AND message_id >= $1::uuid AND message_id < $2::uuid GROUP BY state
UNION ALL
SELECT 'unpublished', count(*) FROM outbox
WHERE message_id >= $1::uuid AND message_id < $2::uuid HAVING count(*) > 0

-- name: bound
-- For one transaction: give up after so many milliseconds, and never read all that is done to count what is not.
SELECT set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true)

-- name: queued
WITH counted AS (
    SELECT lane, state, count(*) AS deliveries, min(due_at) AS due_at FROM deliveries
    WHERE state = 'ready' GROUP BY lane, state
    UNION ALL
    SELECT lane, state, count(*), min(due_at) FROM deliveries
    WHERE state IN ('waiting', 'leased', 'in_doubt') GROUP BY lane, state
    UNION ALL
    SELECT lane, state, count(*), min(due_at) FROM deliveries
    WHERE state = 'parked' GROUP BY lane, state
)
SELECT lane::text, state::text, coalesce(deliveries, 0) AS deliveries,
    greatest(extract(epoch FROM now() - due_at), 0)::float AS overdue_seconds
FROM unnest(enum_range(NULL::lane)) AS lane CROSS JOIN unnest(enum_range(NULL::delivery_state)) AS state
LEFT JOIN counted USING (lane, state)
WHERE state <> 'done'

-- name: forget_keys
-- The age again outside: a key that was given anew meanwhile is kept.
DELETE FROM idempotency_keys
WHERE ctid = ANY (ARRAY (SELECT ctid FROM idempotency_keys WHERE created_at < now() - $1::interval LIMIT $2))
    AND created_at < now() - $1::interval

-- name: erase_recipients
-- Of what is done; what is still to be sent needs its address. The request's body went with its last delivery.
WITH due AS (
    SELECT e.message_id, e.recipient_no FROM erasures e
    LEFT JOIN deliveries d USING (message_id, recipient_no)
    WHERE d.state IS NULL OR d.state = 'done' LIMIT $1
), erased AS (
    UPDATE deliveries d SET recipient = '', said = NULL FROM due
    WHERE d.message_id = due.message_id AND d.recipient_no = due.recipient_no
)
DELETE FROM erasures e USING due WHERE e.message_id = due.message_id AND e.recipient_no = due.recipient_no

-- name: forget_decisions
DELETE FROM decisions WHERE id = ANY (ARRAY (SELECT id FROM decisions WHERE at < $1 ORDER BY at LIMIT $2))
