-- name: insert
-- Requests ($1…), their deliveries and their events: all of those that are not there yet, and nothing of the others. What is
-- claimed ($18) is leased at once, unless its destination is paused.
WITH new AS (
    INSERT INTO requests (message_id, digest, app, open, body, traceparent, accepted_at)
    SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[], $5::bytea[], $6::text[], $7::timestamptz[])
    ON CONFLICT DO NOTHING
    RETURNING message_id
), addressed AS (
    INSERT INTO deliveries
        (message_id, recipient_no, app, recipient, destination, address_key, lane, expires_at, park_unknown, overrides, state,
        due_at, fence, attempt)
    SELECT message_id, recipient_no, app, recipient, destination, address_key, lane, expires_at, park_unknown, overrides,
        CASE WHEN begins THEN 'leased' WHEN due_at > now() THEN 'waiting' ELSE 'ready' END::delivery_state,
        CASE WHEN begins THEN now() + $23::interval ELSE due_at END, begins::int, begins::int
    FROM unnest(
        $8::uuid[], $9::smallint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::lane[], $15::timestamptz[],
        $16::boolean[], $17::timestamptz[], $18::boolean[], $19::boolean[]
    ) AS asked (message_id, recipient_no, app, recipient, destination, address_key, lane, expires_at, park_unknown, due_at,
        claimed, overrides)
    JOIN new USING (message_id)
    CROSS JOIN LATERAL (
        SELECT claimed AND NOT EXISTS (SELECT FROM pauses WHERE pauses.destination IN (asked.destination, '*')) AS begins
    ) AS at_once
    RETURNING message_id, recipient_no, app, address_key, overrides, state
), told AS (
    INSERT INTO outbox (message_id, name, event)
    SELECT message_id, name, event FROM unnest($20::uuid[], $21::text[], $22::bytea[]) AS event (message_id, name, event)
    JOIN new USING (message_id)
)
SELECT new.message_id, leased.recipient_no, s.*
FROM new
LEFT JOIN addressed AS leased ON leased.message_id = new.message_id AND leased.state = 'leased'
LEFT JOIN LATERAL (
    SELECT reason, since, until, evidence_event, evidence_message FROM active_suppressions s
    WHERE s.address_key = leased.address_key AND NOT leased.overrides AND (s.app IS NULL OR s.app = leased.app)
    ORDER BY until DESC NULLS FIRST, since, reason LIMIT 1
) AS s ON true

-- name: known_digests
SELECT message_id, digest FROM requests WHERE message_id = ANY ($1::uuid[])

-- name: lease
-- A lane's share ($2) of what is ready, spread evenly over the next destinations after $3, of which those that are $4 have
-- no room, those that are $5 room for $6, and all others for $7; each with why it is not to be written to, if so.
WITH RECURSIVE next AS (
    (
        SELECT destination FROM deliveries
        WHERE state = 'ready' AND lane = $1 AND destination > $3 ORDER BY destination LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT d.destination FROM deliveries d
        WHERE d.state = 'ready' AND d.lane = $1 AND d.destination > next.destination ORDER BY d.destination LIMIT 1
    )
    FROM next WHERE next.destination IS NOT NULL
), open AS (
    SELECT destination, coalesce(known.room, $7::int) AS room
    FROM next LEFT JOIN unnest($5::text[], $6::int[]) AS known (name, room) ON name = destination
    WHERE destination IS NOT NULL AND destination <> ALL ($4::text[]) AND coalesce(known.room, $7::int) > 0
        AND NOT EXISTS (SELECT FROM pauses WHERE pauses.destination = next.destination)
    LIMIT $8
), due AS (
    SELECT taken.* FROM open CROSS JOIN LATERAL (
        SELECT message_id, recipient_no FROM deliveries d
        WHERE d.state = 'ready' AND d.lane = $1 AND d.destination = open.destination
        ORDER BY d.due_at
        LIMIT least(open.room, greatest(1, $2::int / (SELECT count(*) FROM open)))
        FOR UPDATE SKIP LOCKED
    ) AS taken
    WHERE NOT EXISTS (SELECT FROM pauses WHERE pauses.destination = '*')
    LIMIT $2
), leased AS (
    UPDATE deliveries d
    SET state = 'leased', due_at = now() + $9::interval, fence = d.fence + 1, attempt = d.attempt + 1
    FROM due JOIN requests r USING (message_id)
    WHERE d.message_id = due.message_id AND d.recipient_no = due.recipient_no
    RETURNING d.message_id, d.recipient_no, d.app, d.recipient, d.destination, d.address_key, d.lane::text, d.attempt, d.fence,
        d.expires_at, d.outcome_unknown, d.park_unknown, d.overrides, false AS in_doubt, d.said, r.body, r.traceparent, r.accepted_at
)
SELECT leased.*, s.*
FROM leased LEFT JOIN LATERAL (
    SELECT reason, since, until, evidence_event, evidence_message FROM active_suppressions s
    WHERE s.address_key = leased.address_key AND NOT leased.overrides AND (s.app IS NULL OR s.app = leased.app)
    ORDER BY until DESC NULLS FIRST, since, reason LIMIT 1
) AS s ON true

-- name: doubtful
-- No reply came in time: the outcome is unknown. They stay in doubt until that is on the record, whoever dies before.
WITH due AS (
    SELECT message_id, recipient_no FROM deliveries
    WHERE state = 'in_doubt' AND due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d
SET due_at = now() + $2::interval, fence = d.fence + 1, outcome_unknown = true
FROM due JOIN requests r USING (message_id)
WHERE d.message_id = due.message_id AND d.recipient_no = due.recipient_no
RETURNING d.message_id, d.recipient_no, d.app, d.recipient, d.destination, d.address_key, d.lane::text, d.attempt, d.fence,
    d.expires_at, d.outcome_unknown, d.park_unknown, d.overrides, true AS in_doubt, d.said, r.body, r.traceparent, r.accepted_at

-- name: overdue
-- What is ready and may not be tried any more, however little room its destination has, and whether it is paused.
WITH due AS (
    SELECT message_id, recipient_no FROM deliveries
    WHERE state = 'ready' AND expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d
SET state = 'leased', due_at = now() + $2::interval, fence = d.fence + 1
FROM due JOIN requests r USING (message_id)
WHERE d.message_id = due.message_id AND d.recipient_no = due.recipient_no
RETURNING d.message_id, d.recipient_no, d.app, d.recipient, d.destination, d.address_key, d.lane::text, d.attempt, d.fence,
    d.expires_at, d.outcome_unknown, d.park_unknown, d.overrides, false AS in_doubt, d.said, r.body, r.traceparent, r.accepted_at

-- name: wake
-- What waited for its time, and what was leased by a sender that died.
WITH due AS (
    SELECT message_id, recipient_no FROM deliveries
    WHERE state IN ('waiting', 'leased') AND due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET state = 'ready', fence = d.fence + (d.state = 'leased')::int FROM due
WHERE d.message_id = due.message_id AND d.recipient_no = due.recipient_no

-- name: renew
-- The bounds tell even a generic plan which partitions to look at; an array would not.
UPDATE deliveries d SET due_at = now() + $4::interval
FROM unnest($1::uuid[], $2::smallint[], $3::bigint[]) AS held (message_id, recipient_no, fence)
WHERE d.message_id = held.message_id AND d.recipient_no = held.recipient_no AND d.fence = held.fence
    AND d.state::text = 'leased' AND d.message_id BETWEEN $5 AND $6

-- name: suppressed
-- The LIMIT keeps it a look into the index for each: a join would read all suppressions there are.
SELECT asked.address_key, asked.app, s.*
FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS asked (address_key, app)
CROSS JOIN LATERAL (
    SELECT reason, since, until, evidence_event, evidence_message FROM active_suppressions s
    WHERE s.address_key = asked.address_key AND (s.app IS NULL OR s.app = asked.app)
    ORDER BY until DESC NULLS FIRST, since, reason LIMIT 1
) AS s

-- name: doubt
-- The last look before the final dot: only who still holds the lease may go on, and never to a suppressed
-- address, but for a request that overrides that.
-- The state as text: else the index of what is due looks like the shorter way, and all that it has of the past is read.
UPDATE deliveries d SET state = 'in_doubt', due_at = now() + $4::interval
FROM unnest($1::uuid[], $2::smallint[], $3::bigint[]) AS held (message_id, recipient_no, fence)
WHERE d.message_id = held.message_id AND d.recipient_no = held.recipient_no AND d.fence = held.fence
    AND d.state::text = 'leased' AND d.message_id BETWEEN $5 AND $6 AND (
        SELECT true FROM active_suppressions s
        WHERE s.address_key = d.address_key AND NOT d.overrides AND (s.app IS NULL OR s.app = d.app) LIMIT 1
    ) IS NULL
RETURNING d.message_id, d.recipient_no

-- name: settle
-- Who holds the lease records the outcome. A final reply counts even when it comes late: it calls the next attempt off;
-- or, if that is in doubt itself, all attempts after that.
WITH settled AS (
    UPDATE deliveries d
    SET state = CASE
            WHEN d.fence > new.fence AND d.state = 'in_doubt' THEN 'in_doubt'
            WHEN d.answered THEN 'done'
            ELSE new.state
        END,
        due_at = CASE WHEN d.fence = new.fence THEN coalesce(new.due_at, d.due_at) ELSE d.due_at END,
        said = coalesce(new.said, d.said), outcome_unknown = d.outcome_unknown OR new.outcome_unknown,
        answered = d.answered OR new.name = 'delivered'
    FROM unnest(
        $1::uuid[], $2::smallint[], $3::bigint[], $4::delivery_state[], $5::timestamptz[], $6::boolean[], $7::text[],
        $8::boolean[], $9::text[]
    ) AS new (message_id, recipient_no, fence, state, due_at, outcome_unknown, said, final, name)
    WHERE d.message_id = new.message_id AND d.recipient_no = new.recipient_no AND d.message_id BETWEEN $13 AND $14 AND (
        d.fence = new.fence AND d.state IN ('leased', 'in_doubt')
        OR d.fence > new.fence AND new.final AND d.state <> 'done' AND (d.state <> 'in_doubt' OR new.name = 'delivered')
    )
    RETURNING d.message_id, d.recipient_no, d.state, d.address_key
), closed AS (
    UPDATE requests r SET open = r.open - n, body = CASE WHEN r.open > n THEN r.body END
    FROM (SELECT message_id, count(*) AS n FROM settled WHERE state = 'done' GROUP BY message_id) AS done
    WHERE r.message_id = done.message_id AND r.message_id BETWEEN $13 AND $14
), told AS (
    -- A delivery that is known too late to change what is done about it is told all the same.
    INSERT INTO outbox (message_id, name, event)
    SELECT told.message_id, told.name, told.event
    FROM unnest($1::uuid[], $2::smallint[], $8::boolean[], $9::text[], $10::bytea[])
        AS told (message_id, recipient_no, final, name, event)
    LEFT JOIN settled USING (message_id, recipient_no)
    WHERE settled.state IS NOT NULL OR told.final AND told.name = 'delivered'
), noted AS (
    -- A success ends the count of soft failures, where there are any lately.
    INSERT INTO suppression_evidence (address_key, id, kind, at, message_id, recipient_no)
    SELECT settled.address_key, told.id, 'delivered', told.time, message_id, recipient_no
    FROM unnest($1::uuid[], $2::smallint[], $9::text[], $11::uuid[], $12::timestamptz[])
        AS told (message_id, recipient_no, name, id, time)
    JOIN settled USING (message_id, recipient_no)
    CROSS JOIN LATERAL (
        SELECT FROM suppression_evidence e
        WHERE e.address_key = settled.address_key AND e.kind = 'soft_bounce' AND e.at > told.time - interval '30 days'
        LIMIT 1
    ) AS failed
    WHERE told.name = 'delivered'
    ON CONFLICT DO NOTHING
)
SELECT message_id, recipient_no FROM settled

-- name: outbox_head
SELECT seq, name, event FROM outbox ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED

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
