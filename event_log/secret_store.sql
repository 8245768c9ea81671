-- name: insert
INSERT INTO secrets (secret_id, instance_id, stream_id, stream_version, sealed, expires_at)
SELECT * FROM unnest(
    %(ids)s::uuid[], %(instances)s::text[], %(streams)s::uuid[], %(versions)s::bigint[],
    %(sealed)b::bytea[], %(expiries)s::timestamptz[]
)

-- name: select
SELECT secret_id, sealed FROM secrets WHERE secret_id = ANY(%(ids)s)

-- name: forget
DELETE FROM secrets s
 USING unnest(%(streams)s::uuid[], %(versions)s::bigint[]) AS closed (stream_id, stream_version)
 WHERE s.stream_id = closed.stream_id
   AND s.stream_version = closed.stream_version
   AND s.expires_at IS NOT NULL
   AND NOT EXISTS (
       SELECT 1 FROM due_notifications d
        WHERE d.cause_stream = closed.stream_id AND d.cause_version = closed.stream_version
   )

-- name: forget_expired
DELETE FROM secrets
 WHERE secret_id IN (
     SELECT secret_id FROM secrets
      WHERE expires_at <= %(now)s
      ORDER BY expires_at
      LIMIT %(limit)s
 )

-- name: is_kept
SELECT EXISTS (
    SELECT 1 FROM secrets
     WHERE secret_id = %(id)s AND (expires_at IS NULL OR expires_at > %(now)s)
)
