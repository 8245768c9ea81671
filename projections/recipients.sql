-- name: select
SELECT r.instance_id, r.subject, r.version, r.sealed
  FROM unnest(%(instances)s::text[], %(subjects)s::text[]) AS wanted (instance_id, subject)
  JOIN recipients r USING (instance_id, subject)

-- name: upsert
INSERT INTO recipients (instance_id, subject, version, sealed)
SELECT * FROM unnest(%(instances)s::text[], %(subjects)s::text[], %(versions)s::bigint[], %(sealed)b::bytea[])
ON CONFLICT (instance_id, subject) DO UPDATE SET version = excluded.version, sealed = excluded.sealed
