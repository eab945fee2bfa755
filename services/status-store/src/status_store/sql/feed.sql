-- name: lock_feed
-- False while another drainer is at it.
SELECT pg_try_advisory_xact_lock(7274063002)

-- name: number_changes
-- Only what is committed can be seen, and only one drainer numbers at a time: no hole is ever filled later.
WITH marks AS (
    DELETE FROM change_marks WHERE mark IN (SELECT mark FROM change_marks ORDER BY mark LIMIT $1)
    RETURNING mark, message_ids
), numbered AS (
    INSERT INTO changes (number, message_ids)
    SELECT (SELECT numbered FROM feed) + row_number() OVER (ORDER BY mark), message_ids FROM marks
    RETURNING number
)
UPDATE feed SET numbered = numbered + (SELECT count(*) FROM numbered) WHERE EXISTS (SELECT FROM marks)

-- name: unpublished
SELECT number, message_ids FROM changes
WHERE number > (SELECT published FROM feed) ORDER BY number LIMIT $1

-- name: statuses
-- A message whose month was dropped since has no status to tell of any more.
SELECT message_id::text, status, version, reference, app, rollup FROM messages
WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2 AND $3

-- name: published
UPDATE feed SET published = $1

-- name: forget_changes
-- Numbers rise with time, so the oldest stand first.
DELETE FROM changes
WHERE number IN (SELECT number FROM changes ORDER BY number LIMIT 10000)
    AND numbered_at < now() - $1::interval AND number <= (SELECT published FROM feed)
