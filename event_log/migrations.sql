-- name: lock
SELECT pg_advisory_lock(%(key)s)

-- name: role_exists
SELECT 1 FROM pg_roles WHERE rolname = %(role)s

-- name: may_become
SELECT 1 WHERE pg_has_role(current_user, %(role)s, 'MEMBER')

-- name: create_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    checksum bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: applied
SELECT name, checksum FROM schema_migrations

-- name: record
INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)
