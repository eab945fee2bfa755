-- Each walk leads from the newest to the oldest through one index, whatever the combination of filters; each message that
-- it comes to is looked at by its id. $1, $2: ids from, and before; $3: so many are looked at; $4 to $7: what is asked of
-- each: all of these terms, one of these statuses (empty: any), the reference, the app; $8: not seen yet.

-- name: walk_term
SELECT DISTINCT message_id FROM terms WHERE term = ($4::uuid[])[1] AND message_id >= $1 AND message_id < $2
ORDER BY message_id DESC LIMIT $3

-- name: walk_reference
SELECT message_id FROM messages WHERE reference = $6::text AND message_id >= $1 AND message_id < $2
ORDER BY message_id DESC LIMIT $3

-- name: walk_unseen
SELECT message_id FROM issues WHERE seen_at IS NULL AND message_id >= $1 AND message_id < $2
ORDER BY message_id DESC LIMIT $3

-- name: walk_status
SELECT message_id FROM unnest($5::text[]) AS asked (one), LATERAL (
    SELECT message_id FROM messages WHERE status = one AND message_id >= $1 AND message_id < $2
    ORDER BY message_id DESC LIMIT $3
) AS of_one
ORDER BY message_id DESC LIMIT $3

-- name: walk_time
SELECT message_id FROM messages WHERE message_id >= $1 AND message_id < $2
ORDER BY message_id DESC LIMIT $3

-- name: look
-- Of every message that the walk came to its row, or nothing where it is not what was asked for.
WITH walk AS MATERIALIZED ({walk})
SELECT walk.message_id, found.row
FROM walk LEFT JOIN LATERAL (
    SELECT row_to_json(m)::text AS row FROM messages m
    WHERE m.message_id = walk.message_id
        AND (cardinality($5::text[]) = 0 OR m.status = ANY ($5::text[]))
        AND ($6::text IS NULL OR m.reference = $6::text)
        AND ($7::text IS NULL OR m.app = $7::text)
        AND (SELECT count(DISTINCT term) FROM terms t WHERE t.term = ANY ($4::uuid[]) AND t.message_id = walk.message_id)
            = cardinality($4::uuid[])
        AND (NOT $8::boolean OR (SELECT i.seen_at IS NULL FROM issues i WHERE i.message_id = walk.message_id))
    OFFSET 0  -- looked at one by one: joined otherwise, whole tables would be read for it
) AS found ON true
ORDER BY walk.message_id DESC

-- name: see_issue
UPDATE issues SET seen_at = now(), seen_by = $2 WHERE message_id = $1 AND seen_at IS NULL
