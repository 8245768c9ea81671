-- name: versions
SELECT wanted.stream,
       coalesce((SELECT max(originator_version) FROM events WHERE originator_id = wanted.stream), 0)
  FROM unnest(%(streams)s::uuid[]) AS wanted (stream)

-- name: streams
SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at, state
  FROM events
 WHERE originator_id = ANY(%(streams)s)
 ORDER BY originator_id, originator_version

-- name: after
SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at,
       CASE WHEN starts_with(topic, 'notification.') OR starts_with(topic, 'tidings.')
            THEN CASE WHEN %(ours)s THEN state END
            WHEN %(callers)s THEN state
       END
  FROM events
 WHERE notification_id > %(position)s
 ORDER BY notification_id
 LIMIT %(limit)s

-- name: head
SELECT notification_id, recorded_at FROM events ORDER BY notification_id DESC LIMIT 1
