-- One row an open notification: the inline projection of when its next attempt is due.
-- due_at, lease and claim columns are no part of the projection: they survive a rebuild and stand outside
-- its hash. due_at is not_before, or earlier where the handler has pulled a row forward.
CREATE TABLE due_notifications (
    notification_id uuid PRIMARY KEY,
    instance_id text NOT NULL,
    channel text NOT NULL,
    priority smallint NOT NULL,
    not_before timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    cause_stream uuid NOT NULL,
    cause_version bigint NOT NULL,
    supersede_key text NOT NULL,
    due_at timestamptz NOT NULL,
    claims smallint NOT NULL DEFAULT 0,
    lease_token bigint,
    lease_until timestamptz
) WITH (
    -- Room on each page for lease updates that touch no index (HOT).
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 200,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX due_notifications_due_idx ON due_notifications (instance_id, priority, due_at);
CREATE INDEX due_notifications_cause_idx ON due_notifications (cause_stream, cause_version);

CREATE SEQUENCE lease_tokens;

GRANT SELECT, INSERT, UPDATE, DELETE ON due_notifications TO tidings_app;
GRANT USAGE ON SEQUENCE lease_tokens TO tidings_app;
