-- name: hold_deliveries
-- In key order: no deadlock between two who do this.
SELECT d.message_id, d.recipient_no, d.app, d.state::text, d.attempt, d.due_at, d.expires_at, d.outcome_unknown, r.traceparent,
    EXISTS (SELECT FROM pauses p WHERE p.destination IN (d.destination, '*')) AS paused
FROM deliveries d JOIN requests r USING (message_id)
WHERE d.message_id = $1 AND ($2::smallint[] IS NULL OR d.recipient_no = ANY ($2))
ORDER BY d.recipient_no
FOR UPDATE OF d

-- name: tell_decided
INSERT INTO outbox (message_id, name, event) SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])

-- name: close_deliveries
-- Of those that are held.
WITH closed AS (
    UPDATE deliveries SET state = 'done'
    WHERE message_id = $1 AND recipient_no = ANY ($2::smallint[]) AND state NOT IN ('in_doubt', 'done')
    RETURNING recipient_no
)
UPDATE requests SET open = open - n, body = CASE WHEN open > n THEN body END
FROM (SELECT count(*) AS n FROM closed) AS done
WHERE message_id = $1

-- name: ready_deliveries
UPDATE deliveries SET state = 'ready', due_at = now()
WHERE message_id = $1 AND recipient_no = ANY ($2::smallint[]) AND state IN ('waiting', 'parked')

-- name: decide
INSERT INTO decisions (by, what, target, recipients, app, reason) VALUES ($1, $2, $3, $4, $5, $6)

-- name: pause
-- The pause in force stays; xmax is 0 in a row that is new.
INSERT INTO pauses AS p (destination, by, reason) VALUES ($1, $2, $3)
ON CONFLICT (destination) DO UPDATE SET destination = p.destination
RETURNING destination, by, reason, since, xmax = 0 AS is_new

-- name: resume
DELETE FROM pauses WHERE destination = $1 RETURNING destination, by, reason, since

-- name: list_pauses
SELECT destination, by, reason, since FROM pauses WHERE destination > $1 ORDER BY destination LIMIT $2

-- name: list_decisions
SELECT id, at, by, what, target, recipients, app, reason FROM decisions
WHERE id < $1 ORDER BY id DESC LIMIT $2

-- name: list_decisions_of
-- Those about an app's messages, and those that are everybody's business: each by the index, newest first.
SELECT * FROM (
    (
        SELECT id, at, by, what, target, recipients, app, reason FROM decisions
        WHERE id < $1 AND app = $3 ORDER BY id DESC LIMIT $2
    )
    UNION ALL
    (
        SELECT id, at, by, what, target, recipients, app, reason FROM decisions
        WHERE id < $1 AND app IS NULL ORDER BY id DESC LIMIT $2
    )
) AS seen
ORDER BY id DESC LIMIT $2

-- name: totals
-- Of each part at most $1 rows are looked at: the partial indexes hold only what is not done. `looked` tells whether
-- there may be more; `count` is of an app's own, if $2 names one.
WITH seen AS (
    (
        SELECT 'normal' AS part, lane, state, app, due_at FROM deliveries
        WHERE state = 'ready' AND lane = 'normal' ORDER BY lane, destination, due_at LIMIT $1
    )
    UNION ALL
    (
        SELECT 'bulk', lane, state, app, due_at FROM deliveries
        WHERE state = 'ready' AND lane = 'bulk' ORDER BY lane, destination, due_at LIMIT $1
    )
    UNION ALL
    (
        SELECT 'timed', lane, state, app, due_at FROM deliveries
        WHERE state IN ('waiting', 'leased', 'in_doubt') ORDER BY due_at LIMIT $1
    )
    UNION ALL
    (
        SELECT 'parked', lane, state, app, due_at FROM deliveries
        WHERE state = 'parked' ORDER BY message_id LIMIT $1
    )
)
SELECT part, lane::text, state::text, count(*) AS looked, count(*) FILTER (WHERE $2::text IS NULL OR app = $2) AS count,
    min(due_at) FILTER (WHERE state = 'ready' AND ($2::text IS NULL OR app = $2)) AS oldest
FROM seen GROUP BY part, lane, state

-- name: oldest_ready
-- From one destination to the next by the index, whatever number is ready for each; at most $1 of them.
WITH RECURSIVE next AS (
    (SELECT lane, destination, due_at FROM deliveries WHERE state = 'ready' ORDER BY lane, destination, due_at LIMIT 1)
    UNION ALL
    SELECT following.* FROM next CROSS JOIN LATERAL (
        SELECT lane, destination, due_at FROM deliveries d
        WHERE d.state = 'ready' AND (d.lane, d.destination) > (next.lane, next.destination)
        ORDER BY lane, destination, due_at LIMIT 1
    ) AS following
)
SELECT min(due_at) AS oldest FROM (SELECT due_at FROM next LIMIT $1) AS heads

-- name: destinations
-- At most $1 lanes of destinations, $2 ready of each lane, and $3 rows in all: of what is ready, and of what waits, the
-- soonest. `complete` tells whether that was all; `ready` counts that ended at $2 are still the most that there can be.
WITH RECURSIVE next AS (
    (SELECT lane, destination FROM deliveries WHERE state = 'ready' ORDER BY lane, destination LIMIT 1)
    UNION ALL
    SELECT following.* FROM next CROSS JOIN LATERAL (
        SELECT lane, destination FROM deliveries d
        WHERE d.state = 'ready' AND (d.lane, d.destination) > (next.lane, next.destination)
        ORDER BY lane, destination LIMIT 1
    ) AS following
), heads AS MATERIALIZED (
    SELECT * FROM next LIMIT $1
), ready AS MATERIALIZED (
    SELECT heads.lane, heads.destination, d.app, d.due_at FROM heads CROSS JOIN LATERAL (
        SELECT app, due_at FROM deliveries
        WHERE state = 'ready' AND lane = heads.lane AND destination = heads.destination
        ORDER BY due_at LIMIT $2
    ) AS d
    LIMIT $3
), timed AS MATERIALIZED (
    SELECT destination, app, state FROM deliveries
    WHERE state IN ('waiting', 'leased', 'in_doubt') ORDER BY due_at LIMIT $3
), seen AS (
    SELECT destination, app, 'ready'::delivery_state AS state, due_at AS ready_since FROM ready
    UNION ALL
    SELECT destination, app, state, NULL FROM timed
), most AS (
    SELECT destination, min(ready_since) AS oldest, count(*) FILTER (WHERE state = 'ready') AS ready,
        count(*) FILTER (WHERE state = 'waiting') AS waiting,
        count(*) FILTER (WHERE state IN ('leased', 'in_doubt')) AS under_way
    FROM seen WHERE $4::text IS NULL OR app = $4
    GROUP BY destination
    ORDER BY count(*) FILTER (WHERE state IN ('ready', 'waiting')) DESC, oldest, destination LIMIT $5
), looked AS (
    SELECT (SELECT count(*) FROM heads) < $1 AND (SELECT count(*) FROM ready) < $3 AND (SELECT count(*) FROM timed) < $3
        AND NOT EXISTS (SELECT FROM ready GROUP BY lane, destination HAVING count(*) >= $2) AS complete
)
SELECT complete, most.destination, ready, waiting, under_way,
    extract(epoch FROM now() - oldest)::float AS oldest_ready_seconds, p.by, p.reason, p.since
FROM looked LEFT JOIN most ON true LEFT JOIN pauses p USING (destination)
ORDER BY ready + waiting DESC, oldest, most.destination

-- name: look_ready
SELECT * FROM listed
WHERE state = 'ready' AND lane = $1 AND (destination, due_at, message_id, recipient_no) > ($2, $3, $4, $5)
ORDER BY destination, due_at, message_id, recipient_no LIMIT $6

-- name: look_ready_to
SELECT * FROM listed
WHERE state = 'ready' AND lane = $1 AND destination = $2 AND (due_at, message_id, recipient_no) > ($3, $4, $5)
ORDER BY due_at, message_id, recipient_no LIMIT $6

-- name: look_timed
SELECT * FROM listed
WHERE state IN ('waiting', 'leased', 'in_doubt') AND (due_at, message_id, recipient_no) > ($1, $2, $3)
ORDER BY due_at, message_id, recipient_no LIMIT $4

-- name: look_parked
SELECT * FROM listed
WHERE state = 'parked' AND (message_id, recipient_no) > ($1, $2)
ORDER BY message_id, recipient_no LIMIT $3

-- name: message
SELECT app, accepted_at, open FROM requests WHERE message_id = $1

-- name: message_deliveries
SELECT * FROM listed WHERE message_id = $1 ORDER BY recipient_no
