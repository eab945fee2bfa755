-- name: hold
-- Of what is about somebody who was erased, no more is kept than that it came.
INSERT INTO quarantine (id, reason, detail, way, subject, content_type, message_id, recipient_no, issued_on, kid, mark,
    raw, size, about, erased_at)
SELECT id, reason, detail, way, CASE WHEN erased THEN '' ELSE subject END, content_type,
    message_id, recipient_no, issued_on, kid, mark,
    CASE WHEN erased THEN '' ELSE raw END, CASE WHEN erased THEN 0 ELSE octet_length(raw) + octet_length(keys) END,
    CASE WHEN erased THEN '{}' ELSE about END, CASE WHEN erased THEN now() END
FROM (
    SELECT told.*, string_to_array(keys, ' ') AS about,
        EXISTS (SELECT FROM erasures e WHERE e.about = ANY (string_to_array(keys, ' '))) AS erased
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::smallint[],
        $9::date[], $10::smallint[], $11::bytea[], $12::bytea[], $13::text[]
    ) AS told (id, reason, detail, way, subject, content_type, message_id, recipient_no, issued_on, kid, mark, raw, keys)
) AS new
ON CONFLICT DO NOTHING

-- name: page
SELECT id, seq, received_at, erased_at, size, reason, way, ''::bytea AS raw, detail, subject, content_type,
    message_id, recipient_no, issued_on, kid, mark
FROM quarantine
WHERE ($1::text IS NULL OR reason = $1) AND ($2::bigint IS NULL OR seq < $2)
ORDER BY seq DESC
LIMIT $3

-- name: entry
SELECT id, seq, received_at, erased_at, size, reason, way, raw, detail, subject, content_type,
    message_id, recipient_no, issued_on, kid, mark
FROM quarantine
WHERE id = $1

-- name: drop
DELETE FROM quarantine WHERE id = $1 RETURNING true

-- name: restate
UPDATE quarantine SET reason = $2, detail = $3 WHERE id = $1

-- name: put_erasures
INSERT INTO erasures AS e (about, erased_at) SELECT unnest($1::text[]), $2
ON CONFLICT (about) DO UPDATE SET erased_at = greatest(e.erased_at, excluded.erased_at), learnt_at = now()

-- name: erase
UPDATE quarantine SET raw = '', size = 0, subject = '', about = '{}', erased_at = now()
WHERE about && $1::text[]
RETURNING id

-- name: erase_again
UPDATE quarantine SET raw = '', size = 0, subject = '', about = '{}', erased_at = now()
WHERE about && ARRAY(SELECT about FROM erasures WHERE learnt_at > now() - $1::interval)

-- name: forget_erasures
-- A report that comes so late is about a message that nobody knows any more.
DELETE FROM erasures WHERE learnt_at < now() - $1::interval

-- name: drop_oldest
WITH whole AS (SELECT count(*) AS rows, coalesce(sum(size), 0) AS size FROM quarantine),
oldest AS (
    SELECT seq, received_at, row_number() OVER place AS nth, sum(size) OVER place - size AS before
    FROM (SELECT seq, received_at, size FROM quarantine ORDER BY seq LIMIT $4) AS first
    WINDOW place AS (ORDER BY seq)
),
dropped AS (
    DELETE FROM quarantine q USING oldest, whole
    WHERE q.seq = oldest.seq AND (
        oldest.nth <= whole.rows - $1::bigint
        OR oldest.before < whole.size - $2::bigint
        OR oldest.received_at < now() - $3::interval
    )
    RETURNING q.seq
)
SELECT count(*) FROM dropped

-- name: kept
SELECT reason, count(*), coalesce(sum(size), 0)::bigint FROM quarantine GROUP BY reason
