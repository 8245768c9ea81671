-- name: versions
SELECT wanted.stream,
       coalesce((SELECT max(originator_version) FROM events WHERE originator_id = wanted.stream), 0)
  FROM unnest(%(streams)s::uuid[]) AS wanted (stream)

-- name: streams
SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at, state
  FROM events
 WHERE originator_id = ANY(%(streams)s)
 ORDER BY originator_id, originator_version

-- name: later_events
SELECT e.notification_id, e.instance_id, e.originator_id, e.originator_version, e.topic, e.recorded_at, e.state
  FROM (SELECT stream, min(version) AS version
          FROM unnest(%(streams)s::uuid[], %(versions)s::bigint[]) AS given (stream, version)
         GROUP BY stream) AS cause
  JOIN events e ON e.originator_id = cause.stream AND e.originator_version > cause.version
 WHERE e.topic = ANY(%(topics)s)
 ORDER BY e.originator_id, e.originator_version

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
