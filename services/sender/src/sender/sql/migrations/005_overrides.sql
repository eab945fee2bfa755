-- Deliveries that are tried though their address is suppressed: their request said why, and whoever asked may.

ALTER TABLE deliveries ADD COLUMN overrides boolean NOT NULL DEFAULT false;
