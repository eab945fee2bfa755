-- name: lock_refold
-- Of the session, so that it is kept between batches; false while another refold has it.
SELECT pg_try_advisory_lock(7274063004)

-- name: lock_events
-- First, as a transaction of events does: a month is dropped in that order too.
LOCK TABLE ONLY events IN ACCESS SHARE MODE

-- name: unfinished_refold
SELECT id FROM refolds WHERE rules_version = $1 AND scope = $2 AND finished_at IS NULL

-- name: begin_refold
INSERT INTO refolds (rules_version, scope, tally) VALUES ($1, $2, $3) RETURNING id

-- name: refold
SELECT position::text, tally, finished_at IS NOT NULL AS finished FROM refolds WHERE id = $1

-- name: advance_refold
UPDATE refolds SET position = $2, tally = $3, finished_at = CASE WHEN $4 THEN now() END WHERE id = $1

-- name: newest_message
-- By the column, and not by its text, which bears the same name: that would read and sort all.
SELECT message_id::text FROM messages m ORDER BY m.message_id DESC LIMIT 1

-- name: messages_after
SELECT message_id::text FROM messages m WHERE message_id > $1 AND message_id <= $2 ORDER BY m.message_id LIMIT $3

-- name: outdated
SELECT DISTINCT message_id::text FROM deliveries
WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2 AND $3 AND rules_version <> $4

-- name: stored_deliveries
SELECT message_id::text, recipient_no, rules_version, status, facts FROM deliveries
WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2 AND $3

-- name: stored_events
SELECT message_id::text, recipient_no, body FROM events
WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2 AND $3

-- name: differing_messages
-- Those that are stored otherwise, whether that is in what subscribers are told, and whose they were.
SELECT m.message_id::text, m.status,
    (m.status, m.rollup::text, m.app, m.reference) IS DISTINCT FROM (n.status, n.rollup::text, n.app, n.reference) AS told,
    m.app
FROM unnest($1::messages[]) n JOIN messages m USING (message_id)
WHERE m.message_id BETWEEN $2 AND $3 AND (
    m.recipient_count, m.described_by, m.status, m.rollup::text,
    m.app, m.reference, m.sender, m.subject, m.rfc_message_id, m.tags, m.metadata
) IS DISTINCT FROM (
    n.recipient_count, n.described_by, n.status, n.rollup::text,
    n.app, n.reference, n.sender, n.subject, n.rfc_message_id, n.tags, n.metadata
)
