-- name: use_login
-- What has ended meanwhile is forgotten with it.
WITH forgotten AS (
    DELETE FROM logins WHERE used_at < now() - 2 * $2::interval
)
INSERT INTO logins (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true
