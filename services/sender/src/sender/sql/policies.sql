-- name: policies
SELECT domain, id, mode, mx, max_age, fetched_at FROM sts_policies ORDER BY fetched_at DESC LIMIT $1

-- name: keep_policy
-- Another sender may have fetched a newer one meanwhile.
INSERT INTO sts_policies (domain, id, mode, mx, max_age, fetched_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (domain) DO UPDATE
SET id = EXCLUDED.id, mode = EXCLUDED.mode, mx = EXCLUDED.mx, max_age = EXCLUDED.max_age, fetched_at = EXCLUDED.fetched_at
WHERE sts_policies.fetched_at < EXCLUDED.fetched_at

-- name: forget_policies
DELETE FROM sts_policies WHERE fetched_at + make_interval(secs => max_age) < now()
