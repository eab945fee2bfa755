CREATE TABLE suppressions (
    address_key text PRIMARY KEY,       -- the keyed hash of the address in normal form
    address text,
    reason text NOT NULL,
    since timestamptz NOT NULL,         -- the time of the evidence
    evidence_event uuid,
    evidence_message uuid,
    lifted_at timestamptz               -- evidence that is not newer than this does not count
);

CREATE VIEW active_suppressions AS
SELECT address_key, NULL::text AS app, reason, since, NULL::timestamptz AS until, evidence_event, evidence_message
FROM suppressions WHERE lifted_at IS NULL OR since > lifted_at;
