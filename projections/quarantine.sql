-- name: any_frozen
SELECT EXISTS (SELECT 1 FROM quarantined_events WHERE projection = %(projection)s)

-- name: frozen
SELECT DISTINCT stream_id FROM quarantined_events WHERE projection = %(projection)s AND stream_id = ANY(%(streams)s)

-- name: since
-- What followed in these streams; without a topic, that one of them waits for a person.
SELECT e.notification_id, e.instance_id, e.originator_id, e.originator_version, e.topic, e.recorded_at, e.state
  FROM unnest(%(streams)s::uuid[], %(versions)s::bigint[]) AS known (stream, version)
  JOIN events e ON e.originator_id = known.stream AND e.originator_version > known.version
 WHERE e.topic = ANY(%(topics)s)
UNION ALL
SELECT position, instance_id, stream_id, 0, NULL, quarantined_at, NULL
  FROM quarantined_events
 WHERE projection = %(projection)s AND stream_id = ANY(%(streams)s)
 ORDER BY originator_id, originator_version

-- name: moved
-- Whether a draft stands no longer: its leases are over, or a stream of its went on, or waits for a person.
SELECT clock_timestamp() >= %(until)s
    OR EXISTS (SELECT 1
                 -- What was appended since is little; looking at each stream would cost more.
                 FROM (SELECT originator_id FROM events WHERE notification_id > %(position)s OFFSET 0) AS recent
                 JOIN unnest(%(streams)s::uuid[]) AS ours (originator_id) USING (originator_id))
    OR EXISTS (SELECT 1
                 FROM quarantined_events
                WHERE projection = %(projection)s AND stream_id = ANY(%(streams)s))

-- name: streams
SELECT DISTINCT stream_id FROM quarantined_events WHERE projection = %(projection)s ORDER BY stream_id

-- name: insert
INSERT INTO quarantined_events (projection, position, stream_id, instance_id, reason, quarantined_at)
SELECT %(projection)s, q.position, q.stream_id, q.instance_id, q.reason, %(now)s
  FROM unnest(%(positions)s::bigint[], %(streams)s::uuid[], %(instances)s::text[], %(reasons)s::text[])
       AS q (position, stream_id, instance_id, reason)
ON CONFLICT DO NOTHING

-- name: count
SELECT count(*) FROM quarantined_events

-- name: page
SELECT q.position, q.projection, q.instance_id, q.stream_id, e.topic, q.reason, q.quarantined_at
  FROM quarantined_events q
  JOIN events e ON e.notification_id = q.position
 WHERE q.position > %(after)s
   AND (%(instance)s::text IS NULL OR q.instance_id = %(instance)s)
 ORDER BY q.position, q.projection
 LIMIT %(limit)s

-- name: of_stream
SELECT q.position, q.projection, q.instance_id, q.stream_id, e.topic, q.reason, q.quarantined_at
  FROM quarantined_events q
  JOIN events e ON e.notification_id = q.position
 WHERE q.projection = %(projection)s
   AND q.stream_id = %(stream)s
 ORDER BY q.position

-- name: stream_at
SELECT instance_id, stream_id FROM quarantined_events WHERE projection = %(projection)s AND position = %(position)s

-- name: take_out
DELETE FROM quarantined_events WHERE projection = %(projection)s AND position = ANY(%(positions)s)
