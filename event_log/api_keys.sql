-- name: insert
INSERT INTO api_keys (key_id, instance_id, hash, scopes, name, created_at)
VALUES (%(key_id)s, %(instance)s, %(hash)s, %(scopes)s, %(name)s, %(now)s)

-- name: select
SELECT key_id, instance_id, scopes, name, created_at, revoked_at, hash FROM api_keys WHERE key_id = %(key_id)s

-- name: list_keys
SELECT key_id, instance_id, scopes, name, created_at, revoked_at
  FROM api_keys
 WHERE %(instance)s::text IS NULL OR instance_id = %(instance)s
 ORDER BY created_at, key_id

-- name: revoke
UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s) WHERE key_id = %(key_id)s
