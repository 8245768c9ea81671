-- A key for each subject (person, session, …), wrapped by the deployment's key.
-- Destroying a row makes everything sealed under it unreadable for ever.
CREATE TABLE subject_keys (
    instance_id text NOT NULL,
    subject text NOT NULL,
    key_id uuid NOT NULL UNIQUE,
    wrapped_key bytea NOT NULL,
    PRIMARY KEY (instance_id, subject)
);

-- Codes and credentials, kept outside the log, sealed, with an expiry (none for credentials).
CREATE TABLE secrets (
    secret_id uuid PRIMARY KEY,
    instance_id text NOT NULL,
    stream_id uuid NOT NULL,
    stream_version bigint NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamptz
);

CREATE INDEX secrets_event_idx ON secrets (stream_id, stream_version);
CREATE INDEX secrets_expiry_idx ON secrets (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE api_keys (
    key_id text PRIMARY KEY,
    instance_id text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

GRANT SELECT, INSERT, DELETE ON subject_keys TO tidings_app;
GRANT SELECT, INSERT, DELETE ON secrets TO tidings_app;
GRANT SELECT, INSERT, UPDATE ON api_keys TO tidings_app;
