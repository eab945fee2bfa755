-- Deliveries whose recipient is to be forgotten as soon as they are done; `housekeeping` does it.

CREATE TABLE erasures (
    message_id uuid NOT NULL,
    recipient_no smallint NOT NULL,
    PRIMARY KEY (message_id, recipient_no)
);

CREATE INDEX decisions_age ON decisions (at);
