-- name: select_by_owner
SELECT k.instance_id, k.subject, k.key_id, k.wrapped_key
  FROM unnest(%(instances)s::text[], %(subjects)s::text[]) AS wanted (instance_id, subject)
  JOIN subject_keys k USING (instance_id, subject)

-- name: select_by_id
SELECT key_id, wrapped_key FROM subject_keys WHERE key_id = ANY(%(key_ids)s)

-- name: insert_keys
INSERT INTO subject_keys (instance_id, subject, key_id, wrapped_key)
SELECT * FROM unnest(%(instances)s::text[], %(subjects)s::text[], %(key_ids)s::uuid[], %(wrapped_keys)b::bytea[])

-- name: begin_proof
INSERT INTO subject_keys (instance_id, subject, key_id, wrapped_key)
VALUES ('', 'deployment', %(key_id)s, %(wrapped_key)s)
ON CONFLICT DO NOTHING
