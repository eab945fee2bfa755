-- name: suppression_recipients
-- Without an address once that is erased.
SELECT d.message_id, d.recipient_no, nullif(d.recipient, ''), d.address_key, d.app, d.destination
FROM unnest($1::uuid[], $2::smallint[]) AS asked (message_id, recipient_no)
JOIN deliveries d USING (message_id, recipient_no)

-- name: put_suppression_addresses
-- Also the lock of an address: who has its row adds to its evidence alone. An address that was erased later is not kept.
INSERT INTO suppression_addresses AS a (address_key, address, address_at, erased_at)
SELECT address_key, CASE WHEN erased_at >= address_at THEN NULL ELSE address END, address_at, erased_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS new (address_key, address, address_at, erased_at)
ON CONFLICT (address_key) DO UPDATE
SET address_at = greatest(a.address_at, excluded.address_at),
    erased_at = greatest(a.erased_at, excluded.erased_at),
    address = CASE
        WHEN greatest(a.erased_at, excluded.erased_at) >= greatest(a.address_at, excluded.address_at) THEN NULL
        ELSE coalesce(excluded.address, a.address)
    END

-- name: insert_suppression_evidence
INSERT INTO suppression_evidence
    (address_key, id, kind, at, app, message_id, recipient_no, reason, until, words, by, why)
SELECT address_key, id, kind, at, app, message_id, recipient_no, reason, until,
    CASE WHEN a.erased_at >= at THEN NULL ELSE words END, by, CASE WHEN a.erased_at >= at THEN NULL ELSE why END
FROM unnest(
    $1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::uuid[], $7::smallint[], $8::text[],
    $9::timestamptz[], $10::text[], $11::text[], $12::text[]
) AS new (address_key, id, kind, at, app, message_id, recipient_no, reason, until, words, by, why)
JOIN suppression_addresses a USING (address_key)
ON CONFLICT DO NOTHING

-- name: put_erasures
INSERT INTO erasures SELECT * FROM unnest($1::uuid[], $2::smallint[]) ON CONFLICT DO NOTHING

-- name: erase_suppression_evidence
UPDATE suppression_evidence e SET words = NULL, why = NULL
FROM suppression_addresses a
WHERE a.address_key = ANY ($1::text[]) AND e.address_key = a.address_key AND e.at <= a.erased_at

-- name: suppression_evidence
SELECT address_key, id, kind, at, app, message_id, recipient_no, reason, until, words, by, why, learnt_at
FROM suppression_evidence
WHERE address_key = ANY ($1::text[]) AND learnt_at <= coalesce($2::timestamptz, 'infinity')

-- name: put_suppressions
INSERT INTO suppressions AS s (address_key, app, reason, since, until, evidence, evidence_message, lift)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[], $7::uuid[], $8::uuid[]
)
ON CONFLICT (address_key, reason, coalesce(app, '')) DO UPDATE
SET since = excluded.since, until = excluded.until, evidence = excluded.evidence,
    evidence_message = excluded.evidence_message, lift = excluded.lift
WHERE (s.until, s.evidence, s.lift) IS DISTINCT FROM (excluded.until, excluded.evidence, excluded.lift)

-- name: drop_suppressions
-- What evidence that came late has undone: a success between failures.
DELETE FROM suppressions s
WHERE address_key = ANY ($1::text[]) AND NOT EXISTS (
    SELECT FROM unnest($2::text[], $3::text[], $4::text[]) AS kept (address_key, app, reason)
    WHERE kept.address_key = s.address_key AND kept.reason = s.reason AND kept.app IS NOT DISTINCT FROM s.app
)

-- name: suppressed_among
-- Of these addresses those that the app (null: no app in particular) does not write to, each with what lasts longest.
SELECT DISTINCT ON (address_key) address_key, app, reason, since, until, evidence_event, evidence_message
FROM active_suppressions
WHERE address_key = ANY ($1::text[]) AND (app IS NULL OR app = $2)
ORDER BY address_key, until DESC NULLS FIRST, since, reason

-- name: suppression_page
SELECT s.seq, a.address, s.app, s.reason, s.since, s.until, e.id, e.message_id, e.words, e.by, e.why
FROM suppressions s
JOIN suppression_addresses a USING (address_key)
JOIN suppression_evidence e ON e.address_key = s.address_key AND e.id = s.evidence
WHERE s.lift IS NULL AND (s.until IS NULL OR s.until > now())
    AND ($1::text IS NULL OR s.app = $1)
    AND ($2::text IS NULL OR s.reason = $2)
    AND ($3::bigint IS NULL OR s.seq < $3)
ORDER BY s.seq DESC
LIMIT $4
