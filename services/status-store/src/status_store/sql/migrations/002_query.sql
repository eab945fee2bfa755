-- Logins of the console that were used: each is good once.
CREATE TABLE logins (
    id uuid PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT now()
);
