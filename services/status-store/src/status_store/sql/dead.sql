-- name: insert_dead
INSERT INTO dead_letters (id, queue, exchange, routing_key, code, problem, app, content_type, headers, body, died_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
    $9::jsonb[], $10::bytea[], $11::timestamptz[])
ON CONFLICT DO NOTHING

-- name: list_dead
SELECT id, queue, exchange, routing_key, code, app, content_type, octet_length(body) AS size, died_at, replayed_at
FROM dead_letters
WHERE ($1::text IS NULL OR queue = $1)
    AND ($2::text IS NULL OR code = $2)
    AND ($3::uuid IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4

-- name: dead
SELECT id, queue, exchange, routing_key, code, problem, app, content_type, headers, body, died_at, stored_at, replayed_at
FROM dead_letters WHERE id = $1

-- name: mark_replayed
UPDATE dead_letters SET replayed_at = now() WHERE id = $1

-- name: drop_dead
DELETE FROM dead_letters WHERE id = $1 RETURNING true

-- name: count_dead
SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL
