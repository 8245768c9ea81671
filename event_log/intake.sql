-- name: known_events
SELECT event_id, notification_id, substring(state FOR 34)
  FROM events
 WHERE event_id = ANY(%(event_ids)s)

-- name: now
SELECT clock_timestamp()
