-- name: points
-- The bounds ($2, $3) tell even a generic plan which partitions to look at; an array, or a join's key, would not.
SELECT m.message_id::text, m.app, m.version, m.status, m.rollup->>'shown_as', row_to_json(m)::text,
    coalesce(d.numbers, '{}'), coalesce(d.facts, '{}')
FROM messages m
LEFT JOIN (
    SELECT message_id, array_agg(recipient_no ORDER BY recipient_no) AS numbers,
        array_agg(facts::text ORDER BY recipient_no) AS facts
    FROM deliveries WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2 AND $3
    GROUP BY message_id
) d USING (message_id)
WHERE m.message_id = ANY ($1::uuid[]) AND m.message_id BETWEEN $2 AND $3

-- name: delivery_events
SELECT m.app, array_agg(e.body::text) AS bodies
FROM messages m JOIN events e USING (message_id)
WHERE message_id = $1 AND e.recipient_no = $2
GROUP BY m.app

-- name: timeline
SELECT m.app, json_build_object('events', json_agg(e.body ORDER BY e.time, e.event_id))::text AS events
FROM messages m JOIN events e USING (message_id)
WHERE message_id = $1
GROUP BY m.app

-- name: counted
SELECT date_trunc($3, hour, 'UTC') AS time, kind, value, sum(count)::bigint AS count
FROM counters WHERE hour >= $1 AND hour < $2 AND ($4::text IS NULL OR app = $4)
GROUP BY 1, 2, 3
