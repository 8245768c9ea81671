-- name: frozen
SELECT DISTINCT stream_id FROM quarantined_events WHERE projection = %(projection)s AND stream_id = ANY(%(streams)s)

-- name: insert
INSERT INTO quarantined_events (projection, position, stream_id, instance_id, reason, quarantined_at)
SELECT %(projection)s, q.position, q.stream_id, q.instance_id, q.reason, %(now)s
  FROM unnest(%(positions)s::bigint[], %(streams)s::uuid[], %(instances)s::text[], %(reasons)s::text[])
       AS q (position, stream_id, instance_id, reason)
ON CONFLICT DO NOTHING

-- name: count
SELECT count(*) FROM quarantined_events
