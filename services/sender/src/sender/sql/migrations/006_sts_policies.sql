-- What domains ask of who delivers to them (MTA-STS, RFC 8461): remembered, so that who can hide a policy from us for a
-- while does not make us forget it.
CREATE TABLE sts_policies (
    domain text PRIMARY KEY,
    id text NOT NULL,
    mode text NOT NULL,
    mx text[] NOT NULL,
    max_age integer NOT NULL,
    fetched_at timestamptz NOT NULL
);
