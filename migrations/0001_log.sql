-- The log: the columns of the eventsourcing library's table, and three of ours.
-- notification_id is the position; the library's name stays because its readers insist on it.
CREATE TABLE events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigserial NOT NULL,
    instance_id text NOT NULL DEFAULT '',
    event_id uuid,
    -- Taken after the append lock, so that times rise with positions on every machine.
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);

CREATE UNIQUE INDEX events_notification_id_idx ON events (notification_id);

-- A random key costs only where it serves: our own events are identified by stream and version.
CREATE UNIQUE INDEX events_event_id_idx ON events (event_id) WHERE event_id IS NOT NULL;

-- How far a projection has come; moved in the transaction that stores its effect.
CREATE TABLE tracking (
    projection text PRIMARY KEY,
    position bigint NOT NULL
);

-- Log positions that no code could digest, set aside and shown.
CREATE TABLE quarantined_events (
    projection text NOT NULL,
    position bigint NOT NULL,
    stream_id uuid NOT NULL,
    instance_id text NOT NULL,
    reason text NOT NULL,
    quarantined_at timestamptz NOT NULL,
    PRIMARY KEY (projection, position)
);

CREATE INDEX quarantined_events_stream_idx ON quarantined_events (projection, stream_id);

GRANT SELECT, INSERT ON events TO tidings_app;
GRANT USAGE ON SEQUENCE events_notification_id_seq TO tidings_app;
GRANT SELECT, INSERT, UPDATE ON tracking TO tidings_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantined_events TO tidings_app;
