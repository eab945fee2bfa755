-- name: lock_feed
-- False while another drainer is at it.
SELECT pg_try_advisory_xact_lock(7274063002)

-- name: number_changes
-- Only what is committed can be seen, and only one drainer numbers at a time: no hole is ever filled later.
WITH marks AS (
    DELETE FROM change_marks WHERE mark IN (SELECT mark FROM change_marks ORDER BY mark LIMIT $1)
    RETURNING mark, message_ids, counts
), numbered AS (
    INSERT INTO changes (number, message_ids)
    SELECT (SELECT numbered FROM feed) + row_number() OVER (ORDER BY mark), message_ids FROM marks
    WHERE cardinality(message_ids) > 0
    RETURNING number
), counted AS (
    INSERT INTO counters AS c (hour, app, kind, value, count)
    SELECT to_timestamp((each->>0)::bigint * 3600) AS hour, each->>1, each->>2, each->>3, sum((each->>4)::bigint)
    FROM marks, json_array_elements(counts) AS each
    GROUP BY 1, 2, 3, 4 HAVING sum((each->>4)::bigint) <> 0
    ON CONFLICT (hour, app, kind, value) DO UPDATE SET count = c.count + excluded.count
), moved AS (
    UPDATE feed SET numbered = numbered + (SELECT count(*) FROM numbered) WHERE EXISTS (SELECT FROM numbered)
)
SELECT count(*) FROM marks

-- name: unpublished
-- The last of the oldest numbers that are not published.
SELECT max(number) FROM (
    SELECT number FROM changes WHERE number > (SELECT published FROM feed) ORDER BY number LIMIT $1
) AS oldest

-- name: statuses
-- Of what changed under those numbers. A message whose month was dropped since has no status to tell of any more.
WITH ids AS MATERIALIZED (
    SELECT DISTINCT unnest(message_ids) AS id FROM changes
    WHERE number > (SELECT published FROM feed) AND number <= $1 ORDER BY id
)
SELECT message_id::text, status, version, reference, app, rollup FROM messages
WHERE message_id = ANY (ARRAY (SELECT id FROM ids))
    AND message_id BETWEEN (SELECT id FROM ids LIMIT 1) AND (SELECT id FROM ids ORDER BY id DESC LIMIT 1)

-- name: published
UPDATE feed SET published = $1

-- name: forget_changes
-- Numbers rise with time, so the oldest stand first.
DELETE FROM changes
WHERE number IN (SELECT number FROM changes ORDER BY number LIMIT 10000)
    AND numbered_at < now() - $1::interval AND number <= (SELECT published FROM feed)

-- name: numbered
SELECT numbered FROM feed

-- name: feed_bounds
SELECT numbered, (SELECT number FROM changes ORDER BY number LIMIT 1) AS oldest FROM feed

-- name: changes_after
-- In the order of the feed, so that no more numbers are looked at than the page has room for.
SELECT c.number, c.place, m.message_id::text, m.status, m.version, m.reference, m.app, m.rollup
FROM (
    SELECT number, place, id FROM changes, unnest(message_ids) WITH ORDINALITY AS each (id, place)
    WHERE number >= $1 AND (number, place) > ($1, $2::bigint) AND number <= (SELECT numbered FROM feed)
    ORDER BY number, place LIMIT $3
) c
LEFT JOIN LATERAL (SELECT * FROM messages WHERE message_id = c.id) m ON true
ORDER BY c.number, c.place
