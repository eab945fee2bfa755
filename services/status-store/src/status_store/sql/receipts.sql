-- name: put_receipt
INSERT INTO receipts (id, kind, address_key, app, by, reason, published_at)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $2 = 'export' THEN now() END)
RETURNING id, kind, address_key, app, by, reason, asked_at, published_at, deliveries

-- name: receipt
SELECT id, kind, address_key, app, by, reason, asked_at, published_at, deliveries FROM receipts WHERE id = $1

-- name: open_receipts
-- What was never published; and erasures of late, for whose addresses mails may have been on their way.
SELECT id, kind, address_key, app, by, reason, asked_at, published_at, deliveries FROM receipts
WHERE asked_at > now() - $1::interval AND (published_at IS NULL OR kind = 'erase')
ORDER BY asked_at

-- name: published_receipt
UPDATE receipts SET published_at = coalesce(published_at, now()), deliveries = deliveries + $2 WHERE id = $1
RETURNING id, kind, address_key, app, by, reason, asked_at, published_at, deliveries

-- name: exported_receipt
UPDATE receipts SET deliveries = $2 WHERE id = $1

-- name: deliveries_to
-- Those of one app, or of all, in messages made before an id.
SELECT t.message_id::text, t.recipient_no FROM terms t
WHERE t.term = $1 AND t.message_id < $2
    AND ($3::text IS NULL OR (SELECT m.app FROM messages m WHERE m.message_id = t.message_id) = $3)

-- name: export_page
SELECT t.message_id, t.recipient_no, m.row, e.bodies
FROM terms t, LATERAL (
    SELECT row_to_json(m)::text AS row FROM messages m
    WHERE m.message_id = t.message_id AND ($4::text IS NULL OR m.app = $4)
    OFFSET 0  -- looked at one by one: joined otherwise, the whole table would be read for it
) m, LATERAL (
    SELECT json_agg(body ORDER BY time, event_id)::text AS bodies FROM events
    WHERE message_id = t.message_id AND recipient_no = t.recipient_no
) e
WHERE t.term = $1 AND (t.message_id, t.recipient_no) > ($2::uuid, $3::smallint)
ORDER BY t.message_id, t.recipient_no LIMIT $5

-- name: erase_dead
-- Letters hold what was sent, as it was sent. Few they are, and they have no index by what they hold.
UPDATE dead_letters SET body = $2, problem = NULL, headers = '{}', exchange = '', code = 'erased'
WHERE position($1 IN lower(encode(body, 'escape'))) > 0
RETURNING 1
